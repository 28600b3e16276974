/** How names and passwords are prepared before they are hashed. */

/** What FreeformClass of RFC 8264 section 4.3 takes, of assigned characters. */
const FREEFORM = /^[\p{L}\p{M}\p{N}\p{S}\p{P} ]+$/u;
/** RFC 8264 sections 9.6, 9.9 and 9.13, and what depends on its neighbours (RFC 5892 appendix A). */
const EXCLUDED =
  /[\p{Default_Ignorable_Code_Point}\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b\u00b7\u0375\u05f3\u05f4\u30fb\u0660-\u0669\u06f0-\u06f9]/u;
/** RFC 3454 table B.1, mapped to nothing. */
const IGNORED = /[\u00ad\u034f\u1806\u180b-\u180d\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff]/gu;
/** RFC 3454 tables C.2 to C.8, as general categories. */
const PROHIBITED = /[\p{C}\p{Zl}\p{Zp}]/u;

/**
 * OpaqueString of RFC 8265 section 4.2, which RFC 8489 asks for: other spaces become U+0020, the
 * rest is normalized to form C. What that profile refuses, and what is a matter of context, is
 * prepared by SASLprep (RFC 4013), which RFC 5389 asked for and by which the password of RFC 8489
 * appendix B.1 was. `undefined` when both refuse, also the empty text.
 */
export function opaqueString(text: string): string | undefined {
  const spaced = text.replaceAll(/\p{Zs}/gu, " ");
  const composed = spaced.normalize("NFC");
  if (FREEFORM.test(composed) && !EXCLUDED.test(composed)) return composed;
  const prepared = spaced.replaceAll(IGNORED, "").normalize("NFKC");
  return prepared === "" || PROHIBITED.test(prepared) ? undefined : prepared;
}
