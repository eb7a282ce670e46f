// What is to be said of a KPI's value: thresholds first, then the target.

import { amount } from "./format.js";

export const ENOUGH = 30;

/** `{kind, words}`; `kind` is "none", "good", "even", "warning" or "critical". */
export function judged({ unit, target, thresholds, better }, { value, n, low, high }) {
  if (n < ENOUGH) return { kind: "none", words: `n < ${ENOUGH}: too few to tell.` };
  if (value === null) return { kind: "none", words: "" };
  const more = better === "HIGHER";
  for (const kind of ["critical", "warning"]) {
    const limit = thresholds?.[kind] ?? null;
    if (limit === null || (more ? value > limit : value < limit)) continue;
    const words = { critical: "Critical", warning: "Worth a look" }[kind];
    return { kind, words: `${words}: ${amount(limit, unit)} or ${more ? "less" : "more"}.` };
  }
  if (target === null) return { kind: "none", words: "" };
  // The interval decides, not the value: within it, the difference may be chance.
  const goal = `the target of ${amount(target, unit)}`;
  const [least, most] = [low ?? value, high ?? value];
  if (least > target) return { kind: more ? "good" : "warning", words: `Above ${goal}.` };
  if (most < target) return { kind: more ? "warning" : "good", words: `Below ${goal}.` };
  return { kind: "even", words: `No clear difference from ${goal}.` };
}
