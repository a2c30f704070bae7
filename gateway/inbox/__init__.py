"""/inbox: the pages for support staff, rendered on the server, and readable without JavaScript.

`routes` has every path, `visit` what a handler gets, `templates/` the pages, and `static/` their
style sheets and scripts.
"""
