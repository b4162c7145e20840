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
  const last = name.split("/").pop().toLowerCase();
  const isKnown = FIXED.lists.includes(last) || FIXED.suffixes.some((end) => last.endsWith(end));
  return isKnown && !isHidden({ name });
}

const JUNK = ["__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"];

const isHidden = ({ name }) => name.split("/").some(
  (part) => part.startsWith(".") || JUNK.includes(part),
);

const NAMED = 3;

/** Names of files that are of no use here, the first of them and how many more. What a system hides
 *  is not told. */
function unwantedNames(entries) {
  const names = entries.filter((entry) => !isWanted(entry) && !isHidden(entry))
    .map(({ name }) => name.split("/").pop());
  const first = names.slice(0, NAMED).join(", ");
  const more = (names.length - NAMED).toLocaleString();
  return names.length > NAMED ? T("{names} and {more} more", { names: first, more }) : first;
}

/** The folder that holds everything, as a name for the data set. */
function nameOf(entries) {
  const tops = new Set(entries.map(({ name }) => (name.includes("/") ? name.split("/")[0] : "")));
  const [top] = tops;
  return tops.size === 1 && top ? top : "upload";
}
