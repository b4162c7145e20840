// CRC-32, by which zips and PNGs know a damaged file.
// Source: annex D of the PNG specification (W3C, third edition).
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

const CRC_START = 0xffffffff;

function addToCrc(crc, bytes) {
  let value = crc;
  for (let at = 0; at < bytes.length; at += 1) {
    value = CRC_TABLE[(value ^ bytes[at]) & 255] ^ (value >>> 8);
  }
  return value;
}

const endOfCrc = (crc) => (crc ^ 0xffffffff) >>> 0;
