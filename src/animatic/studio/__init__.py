"""The studio: scenes drawn in a browser, rendered by one worker, kept in a gallery; a page and an HTTP API.

fields.py   a method's settings as form fields, read from its controls
log.py      what was asked for and made: a folder per render, and the trash
jobs.py     what a job can be: render, finish, edit
variation.py    one setting with several values in a row
box_scores.py   how often objects are in their boxes
models.py   which models may be requested, those that are loaded
work.py     the queue and its worker
limits.py   what one request may ask for
before_rendering.py     the endpoints for what a render would take (estimates.py) and sizes of a model (sizes.py)
api.py      plan, render, status, cancel ...: checked functions, one per endpoint
folders.py  named folders of the gallery; gallery_endpoints.py theirs and the gallery's endpoints
takes.py    the endpoints for what was made: more like it, marks (marks.py), the trash, projects (projects.py)
memory.py   what a job takes, and that it dies of it alone
connections.py    what a connection may cost in time, and how many there are
middleware.py     what every request passes: host, password, size, known paths
server.py   these functions over Gradio's server, and the page in page/
"""
