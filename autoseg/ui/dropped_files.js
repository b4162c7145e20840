// What was dropped or chosen -> [{name, file}], names with the folders they lay in.

async function entriesOf(transfer) {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of roots) await collect(entry, "", found);
  return found;
}

async function collect(entry, folder, found) {
  const name = folder + entry.name;
  if (entry.isFile) {
    found.push({ name, file: await new Promise((done, fail) => entry.file(done, fail)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) { // A reader gives a hundred entries at a time.
    const batch = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!batch.length) return;
    for (const inner of batch) await collect(inner, `${name}/`, found);
  }
}

const chosenFiles = (input) => [...input.files].map(
  (file) => ({ name: file.webkitRelativePath || file.name, file }),
);

const isPacked = ({ name }) => /\.(zip|parquet)$/i.test(name);

/** Images and class lists are sent; the rest of a folder is of no use to anybody here. */
function isWanted({ name }) {
  const parts = name.split("/");
  const last = parts[parts.length - 1].toLowerCase();
  const isJunk = parts.some((part) => part.startsWith(".") || part === "__MACOSX");
  const isKnown = FIXED.lists.includes(last) || FIXED.suffixes.some((end) => last.endsWith(end));
  return isKnown && !isJunk;
}

/** The folder that holds everything, as a name for the data set. */
function nameOf(entries) {
  const tops = new Set(entries.map(({ name }) => (name.includes("/") ? name.split("/")[0] : "")));
  const [top] = tops;
  return tops.size === 1 && top ? top : "upload";
}
