/**
 * The queue that the address selects: its fragment (the part after #), so that a queue can be shared
 * as a link. Pure.
 *
 * The server takes 1 to 64 characters of A-Z a-z 0-9 _ . : - as a name. A fragment that has others is
 * encoded: each byte of its UTF-8 form that is not a letter, a digit or _ . - becomes : and two
 * hexadecimal digits. `#my room` and `#my%20room` are both `my:20room`.
 */

/** Most characters of a queue name (src/wire/PROTOCOL.md). */
const MOST = 64;

/** Control characters, and those that reorder the text around them (Unicode UAX #9): not part of a name. */
const DROPPED = /[\p{Cc}\p{Bidi_Control}]/gu;

/**
 * @typedef {object} Queue
 * @property {string} [name] to be sent; absent, the default queue.
 * @property {string} label as the visitor wrote it; empty for the default queue.
 * @property {boolean} tooLong whether the server would refuse the name because of its length.
 */

/**
 * @param {string} hash `location.hash`
 * @returns {Queue}
 */
export function queueOf(hash) {
  const label = decoded(hash.replace(/^#/, '')).replace(DROPPED, '').normalize('NFC').trim();
  if (label === '') return { label, tooLong: false };
  const name = /^[\w.:-]+$/.test(label) ? label : encoded(label);
  return { name, label, tooLong: name.length > MOST };
}

/** @param {string} fragment with percent escapes; if they are malformed, it is taken literally. */
function decoded(fragment) {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}

/** @param {string} label */
function encoded(label) {
  return [...new TextEncoder().encode(label)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[\w.-]/.test(character) ? character : `:${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
}
