// Numbers and times in the viewer's own language and time zone. Only Intl.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const price = new Intl.NumberFormat(undefined, { style: "currency", currency: "EUR" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "short" });

export const count = (number) => whole.format(number);
export const decimal = (number) => short.format(number);
export const euros = (amount) => price.format(amount);

/** The time of day; with the date unless it is today. */
export function time(moment) {
  const date = new Date(moment);
  return (date.toDateString() === new Date().toDateString() ? clock : day).format(date);
}

/** Date, time and zone, for a title. */
export const exactTime = (moment) => full.format(new Date(moment));

export const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** `3 min. ago`. */
export function since(moment) {
  const seconds = Math.max(0, Math.round((Date.now() - new Date(moment)) / 1000));
  const [unit, length] = [["day", 86_400], ["hour", 3600], ["minute", 60]].find(([, size]) => seconds >= size) ?? ["second", 1];
  return ago.format(-Math.floor(seconds / length), unit);
}

/** `0:12` since a moment. */
export function stopwatch(moment) {
  const seconds = Math.max(0, Math.floor((Date.now() - moment) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** A share of two counts in words, `12.3 %`; null without a whole. */
export function share(part, all) {
  return all ? `${decimal((100 * part) / all)} %` : null;
}

/** The end of an id: enough to tell two users apart. */
export const shortId = (id) => id.slice(-6);
