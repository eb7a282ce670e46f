// Numbers and times in the viewer's own language and time zone. Only Intl.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const percent = [0, 1].map((digits) =>
  new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits }));
const price = new Intl.NumberFormat(undefined, { style: "currency", currency: "EUR" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "short" });

export const count = (number) => whole.format(number);
export const decimal = (number) => short.format(number);
export const euros = (amount) => price.format(amount);

/** A fraction, 0 to 1, in percent; a dash without one. */
export const fraction = (value, digits = 1) => (value === null ? "–" : percent[digits].format(value));

// Where the next longer unit reads better.
const LENGTHS = [["day", 86_400, 2], ["hour", 3600, 2], ["minute", 60, 2], ["second", 1, 0]].map(([unit, size, from]) =>
  ({ size, least: from * size, format: new Intl.NumberFormat(undefined, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 1 }) }));

/** Seconds in the unit that suits them, `3.5 min`; a dash without a number. */
export function duration(seconds) {
  if (seconds === null) return "–";
  const { size, format } = LENGTHS.find(({ least }) => Math.abs(seconds) >= least);
  return format.format(seconds / size);
}

/** A KPI's value in its unit. */
export function amount(value, unit) {
  return value === null || WRITTEN[unit] ? bare(value, unit) : `${decimal(value)} ${unit}`;
}

/** The same without a unit that is a word of its own: of two values, it is said once. */
export function bare(value, unit) {
  return value === null ? "–" : (WRITTEN[unit] ?? decimal)(value);
}

const WRITTEN = { percent: (value) => fraction(value / 100), seconds: duration };

/** An interval in words; `write` makes a text of a number. */
export const interval = ({ low, high }, write) => (low === null || high === null ? "–" : `${write(low)} to ${write(high)}`);

/** A day of the calendar. */
export const calendarDay = (moment) => date.format(new Date(moment));

/** The time of day; with the date unless it is today. */
export function time(moment) {
  const then = new Date(moment);
  return (then.toDateString() === new Date().toDateString() ? clock : day).format(then);
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

/** A share of two counts in words, `12.3%`; null without a whole. */
export function share(part, all) {
  return all ? fraction(part / all) : null;
}

/** The end of an id: enough to tell two users apart. */
export const shortId = (id) => id.slice(-6);
