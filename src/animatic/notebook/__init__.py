"""A scene in a notebook: boxes that are dragged in the page, and the scene that they make in Python.

```python
from animatic.notebook import SceneWidget

widget = SceneWidget(animatic.plan("A bear walks from the left to the right"))
widget          # drag the boxes
widget.scene    # the scene as it is now
```

Needs `pip install 'animatic[notebook]'`.
"""

from .widget import SceneWidget, player

__all__ = ["SceneWidget", "player"]
