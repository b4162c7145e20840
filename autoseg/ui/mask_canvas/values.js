// Values as Python sends them, as what the canvas works with.
const BACKGROUND = /^(background|bg|other|void|unlabell?ed)$/i;

/** A value's files, all at once, as arrays of one size; the confidence is only fetched. */
async function readValue(value) {
  const packed = value.confidence && fetchedBytes(value.confidence);
  packed?.catch(() => {}); // Told where it is unpacked.
  const [photo, classes, other] = await Promise.all([
    Photo.read(value.image),
    readGrey(value.classes),
    value.other ? readGrey(value.other) : null,
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
    packedConfidence: packed,
    confidence: null,
    other: other && resized(other, width, height),
    otherName: value.other_name ? T(value.other_name) : T("Ground truth"),
    ownName: value.own_name ? T(value.own_name) : T("Prediction"),
    names,
    palette,
    seconds: value.seconds ?? null,
    editable: value.editable ?? FIXED.editable,
    twoClasses: names.length === 2 && Boolean(packed),
    hasBackground: isBlack(palette[0]) || BACKGROUND.test(names[0]),
  };
}
