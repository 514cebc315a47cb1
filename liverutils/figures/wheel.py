"""The mouse wheel over the picture of the slice viewer."""

import anywidget
import traitlets

# It stands beside the picture, invisible, and listens to it: without the script, as on a page
# without a kernel, the picture is there all the same.
LISTEN = """
const PAUSE_MS = 40;

function listen(picture, model) {
  let last = 0;
  const onWheel = (event) => {
    event.preventDefault();
    if (event.timeStamp - last < PAUSE_MS || event.deltaY === 0) return;
    last = event.timeStamp;
    const moved = model.get("index") - Math.sign(event.deltaY);
    model.set("index", Math.min(Math.max(moved, 0), model.get("last")));
    model.save_changes();
  };
  const describe = () => { picture.alt = model.get("alt"); };
  picture.addEventListener("wheel", onWheel, { passive: false });
  model.on("change:alt", describe);
  describe();
  return () => {
    picture.removeEventListener("wheel", onWheel);
    model.off("change:alt", describe);
  };
}

function render({ model, el }) {
  let undo = () => {};
  let frame = 0;
  el.style.display = "none";
  const look = () => {
    const picture = el.closest(".widget-vbox")?.querySelector("img.widget-image");
    if (picture) undo = listen(picture, model);
    else frame = requestAnimationFrame(look);
  };
  look();
  return () => { cancelAnimationFrame(frame); undo(); };
}

export default { render };
"""


class Wheel(anywidget.AnyWidget):
    """Moves `index` within 0 … `last` when the wheel turns over the picture beside it.

    Attributes:
        index: The slice; turned away from the reader, the wheel moves to the next one.
        last: The highest index.
        alt: What the picture shows, in words, for those who cannot see it.
    """

    _esm = LISTEN
    index = traitlets.Int(0).tag(sync=True)
    last = traitlets.Int(0).tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
