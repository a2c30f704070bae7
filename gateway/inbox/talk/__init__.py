"""Conversations in the inbox: the list, the thread, the contact, and what is written there.

listing   which conversations there are            page    the three panes together
thread    what was said, as it is shown (view)     contact who it is with, and what is done of it
begin     the page of somebody with whom nothing was said yet (person: who, and where reached)
composer  what is about to be said                 composing  the form that it is written in
files     media, and e-mails in their frames       actions read, canceled, sent again
live      what changes while somebody looks
"""
