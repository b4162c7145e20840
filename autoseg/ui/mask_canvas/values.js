// Values as Python sends them, as what the canvas works with.
const BACKGROUND = /^(background|bg|other|void|unlabell?ed)$/i;

/** A value's files, all at once, as arrays of one size. */
async function readValue(value) {
  const grey = (file) => (file ? readGrey(file) : null);
  const [photo, classes, confidence, other] = await Promise.all([
    Photo.read(value.image),
    readGrey(value.classes),
    grey(value.confidence),
    grey(value.other),
  ]);
  const { width, height } = classes;
  const names = value.names;
  const palette = names.map((_, index) => value.palette[index] || [128, 128, 128]);
  return {
    id: value.id,
    name: value.name || "",
    modelName: value.model || "",
    width,
    height,
    photo,
    model: classes.data,
    confidence,
    other: other && resized(other, width, height),
    otherName: value.other_name ? T(value.other_name) : T("Ground truth"),
    ownName: value.own_name ? T(value.own_name) : T("Prediction"),
    names,
    palette,
    seconds: value.seconds ?? null,
    editable: value.editable ?? FIXED.editable,
    twoClasses: names.length === 2 && Boolean(confidence),
    hasBackground: isBlack(palette[0]) || BACKGROUND.test(names[0]),
  };
}
