// Drop or choose, pack, send, and say how far it is.

const root = element.querySelector(".dd");
let running = null; // AbortController of the upload under way

const unseen = { type: "file", tabindex: -1, "aria-hidden": "true" }; // The buttons open them.
const files = make("input", { ...unseen, multiple: true });
const folder = make("input", { ...unseen, webkitdirectory: true });
const button = (text, onclick) => make("button", { type: "button", onclick }, text);
const chooseFolder = button(T("Choose a folder"), () => folder.click());
const chooseFiles = button(T("Choose a zip or files"), () => files.click());
const bar = make("progress", { max: 1, value: 0, hidden: true, "aria-label": T("Upload") });
const cancel = button(T("Cancel"), () => running?.abort());
cancel.hidden = true;
const status = make("p", { class: "status", role: "status" });
const refusal = make("p", { class: "status fault", role: "alert" }); // Progress leaves it alone.
const place = make(
  "div", { class: "place", role: "group", "aria-label": T("Add a data set") },
  make("b", {}, T("Drop a folder or a zip here")),
  make("span", {}, T("images/ beside masks/, or NAME.jpg beside NAME_mask.png")),
  make("div", { class: "choose" }, chooseFolder, chooseFiles),
  files, folder,
);
root.replaceChildren(place, make("div", { class: "going" }, bar, cancel), status, refusal);

function say(text, isFault = false) {
  status.textContent = text;
  status.classList.toggle("fault", isFault);
}

function progress(share) {
  bar.value = share;
}

function setBusy(isBusy) {
  bar.hidden = cancel.hidden = !isBusy;
  chooseFolder.disabled = chooseFiles.disabled = isBusy;
}

function megabytes(bytes) {
  return (bytes / 2 ** 20).toLocaleString(undefined, { maximumFractionDigits: 1 });
}

class Refused extends Error {}

/** One file for the server: a zip or parquet file as it is, anything else packed. With it the name
 *  of a data set of it, what its user calls it, and which files stay behind. */
async function fileToSend(entries, signal) {
  const packedOnes = entries.filter(isPacked);
  if (packedOnes.length === 1 && entries.length === 1) {
    const { file } = packedOnes[0];
    return { file, name: file.name.replace(/\.\w+$/, ""), called: file.name, unsent: "" };
  }
  const wanted = entries.filter(isWanted);
  if (!wanted.length && packedOnes.length) throw new Refused(T("Upload one zip at a time."));
  if (!wanted.length) throw new Refused(T("There is no image among these files."));
  const bytes = wanted.reduce((sum, { file }) => sum + file.size, 0);
  if (bytes > MAX_ZIP_BYTES || wanted.length > MAX_ZIP_FILES) {
    throw new Refused(
      T("This is too much to pack in the browser. Pack it as a zip and choose that."),
    );
  }
  const zip = await zipOf(wanted, (done, all) => {
    say(T("Packing {done} of {all} files", { done, all }));
    progress(0.2 * done / all);
  }, signal);
  const name = nameOf(wanted);
  const unsent = unwantedNames(entries);
  return { file: new File([zip], `${name}.zip`), name, called: name, unsent };
}

/** XMLHttpRequest tells how far an upload is; `fetch` does not. */
function send(file, from, signal) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    const { root: base, api_prefix: prefix } = window.gradio_config;
    request.open("POST", `${base}${prefix}/upload`);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      progress(from + (1 - from) * loaded / total);
      say(T("Uploading {done} of {all} MB", { done: megabytes(loaded), all: megabytes(total) }));
    });
    const refuse = (text) => fail(new Refused(text));
    request.addEventListener("load", () => {
      const code = request.status;
      if (code === 200) done(JSON.parse(request.responseText)[0]);
      else if (code === 413) refuse(T("This is larger than the page takes."));
      else refuse(T("The server refused the upload ({code}).", { code }));
    });
    request.addEventListener("error", () => refuse(T(
      "The upload did not get through. It may be larger than the page takes, or the app has ended.",
    )));
    request.addEventListener("abort", () => fail(signal.reason));
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("files", file, file.name);
    request.send(form);
  });
}

/** `gather` gives the entries, at once or by a promise. It is called before anything is waited for:
 *  what was dropped can be read no later. */
async function take(gather) {
  if (running) {
    refusal.textContent = T("Wait for this upload, or cancel it, before you add another.");
    return;
  }
  running = new AbortController();
  refusal.textContent = "";
  setBusy(true);
  progress(0);
  try {
    const entries = await gather();
    running.signal.throwIfAborted();
    if (!entries.length) throw new Refused(T("There is neither a file nor a folder in this."));
    const { file, name, called, unsent } = await fileToSend(entries, running.signal);
    const path = await send(file, bar.value, running.signal);
    // Of what was sent the tab says what becomes of it.
    say(unsent && T("Not sent, since they are neither images nor class lists: {names}", {
      names: unsent,
    }));
    trigger("uploaded", { name, called, file: { path, meta: { _type: "gradio.FileData" } } });
  } catch (fault) {
    if (running.signal.aborted) say(T("The upload was cancelled."));
    else if (fault instanceof Refused) say(fault.message, true);
    else say(T("These files could not be read: {why}", { why: fault.message }), true);
  } finally {
    running = null;
    refusal.textContent = "";
    setBusy(false);
  }
}

for (const input of [files, folder]) {
  input.addEventListener("change", () => {
    const chosen = chosenFiles(input);
    if (chosen.length) take(() => chosen);
    input.value = ""; // So that the same one can be chosen again.
  });
}
for (const kind of ["dragenter", "dragover"]) {
  place.addEventListener(kind, (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
}
place.addEventListener("dragleave", () => place.classList.remove("over"));
place.addEventListener("drop", (event) => {
  event.preventDefault();
  place.classList.remove("over");
  take(() => entriesOf(event.dataTransfer));
});
