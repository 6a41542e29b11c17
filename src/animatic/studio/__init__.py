"""The studio: scenes drawn in a browser, rendered by one worker, kept in a gallery; a page and an HTTP API.

fields.py   a method's settings as form fields, read from its controls
log.py      what was asked for and made: a folder per render
work.py     the queue and its worker; what a job can be
after.py    what can be done to what was made: finish, edit
api.py      plan, render, status, cancel ...: checked functions, one per errand
door.py     what every request passes: host, password, size, known paths
server.py   these functions over Gradio's server, and the page in page/
"""
