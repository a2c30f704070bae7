"""Conversations in the inbox: the list, the thread, the contact, and writing messages.

listing   the list of conversations                page      the three panes together
thread    the messages, as `view` shows them       contact   whom it is with, suppressions, merging
begin     the page of a lead or client without a conversation (person: finding and reaching them)
composer  previewing and sending a message         composing the form that it is written in
files     media, and e-mails in their frames       actions   mark as read, cancel, send again
live      events while a page is open              why       what happened to one message
"""
