// The browser's half of lficam.explorer.upload.Upload.

const SLICE = 4 * 2 ** 20; // bytes; Jupyter's servers take 10 MiB in one message

export default {
  render({ model, el }) {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = "image/*";
    input.hidden = true;
    const button = document.createElement("button");
    button.className = "jupyter-widgets jupyter-button widget-button";
    button.textContent = model.get("description");
    button.title = model.get("tooltip");
    el.append(button, input);

    button.addEventListener("click", () => input.click());
    input.addEventListener("change", async () => {
      const [file] = input.files;
      input.value = ""; // so that the same file can be chosen again
      if (!file) return;
      const { name, size } = file;
      if (size > model.get("most")) return model.send({ name, size });
      const bytes = await file.arrayBuffer();
      for (let start = 0; start === 0 || start < size; start += SLICE)
        model.send({ name, size, start }, undefined, [bytes.slice(start, start + SLICE)]);
    });
  },
};
