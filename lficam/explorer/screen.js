// The browser's half of lficam.explorer.screen.Screen.

export default {
  render({ model, el }) {
    const picture = document.createElement("img");
    picture.className = "lficam-picture";
    picture.alt = ""; // the words beside it say what it shows
    picture.draggable = false;
    const words = document.createElement("div");
    words.className = "lficam-caption";
    words.setAttribute("role", "status"); // is read aloud whenever it changes
    el.append(picture, words);

    const waiting = (is) => el.classList.toggle("lficam-waiting", is);

    // While Python is busy, Jupyter keeps the last value of each trait and sends that: drawing sets the pace.
    function send(name, value) {
      waiting(true);
      model.set(name, value);
      model.save_changes();
    }

    function point(event) {
      const box = picture.getBoundingClientRect();
      const place = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      if (model.get("pointable") && String(place) !== String(model.get("point"))) send("point", place);
    }

    function show() {
      const before = picture.src;
      picture.src = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
      if (before) URL.revokeObjectURL(before);
    }

    let pause; // a slider that is dragged changes the words all the time: only the last are read aloud
    function say() {
      clearTimeout(pause);
      pause = setTimeout(() => (words.textContent = model.get("words")), 300);
    }

    const grasp = () => (picture.style.cursor = model.get("pointable") ? "crosshair" : "");
    const measure = new ResizeObserver(() => {
      const width = 10 * Math.floor(el.clientWidth / 10); // not every pixel is worth a message
      if (width && width !== model.get("width")) send("width", width);
      else waiting(false);
    });

    // Drags of a mouse or a pen, also beyond the edge; of a finger only taps, since it scrolls.
    picture.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "touch" && event.button === 0) picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => picture.hasPointerCapture(event.pointerId) && point(event));
    picture.addEventListener("click", point);
    model.on("change:value", show);
    model.on("change:words", say);
    model.on("change:pointable", grasp);
    model.on("change:answered", () => waiting(false));
    words.textContent = model.get("words");
    show(), grasp(), waiting(true);
    measure.observe(el);
    return () => {
      measure.disconnect();
      URL.revokeObjectURL(picture.src);
    };
  },
};
