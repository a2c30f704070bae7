"""/inbox: the pages for support staff, rendered on the server; none needs JavaScript to be read.

`routes` names every path, `visit` is what a handler gets, `templates/` and `static/` are what is
shown.
"""
