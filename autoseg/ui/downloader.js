// Saves each new value once; the id tells two downloads of the same file apart.
const problem = element.querySelector("div");
let saved = null;
let saving = null;

async function save() {
  const value = props.value;
  if (!value || !value.file || value.id === saved || value.id === saving) return;
  saving = value.id;
  problem.hidden = true;
  try {
    await saveFile(value);
    saved = value.id;
  } catch (error) {
    console.warn(error);
    const again = make("button", { type: "button", onclick: save }, T("Try again"));
    problem.replaceChildren(T("{name} could not be downloaded.", { name: value.name }), " ", again);
    problem.hidden = false;
  }
  if (saving === value.id) saving = null;
}

async function saveFile({ file, name }) {
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  // Where the server names a file, its name would win over ours; a blob has none.
  const href = URL.createObjectURL(await answer.blob());
  const anchor = make("a", { href, download: name });
  element.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}

save();
watch("value", save);
