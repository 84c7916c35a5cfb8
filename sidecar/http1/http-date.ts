// The three forms of a date in HTTP (RFC 9110, 5.6.7): a recipient has to read all of them. Dates are UTC, to the second.
//
//   Sun, 06 Nov 1994 08:49:37 GMT      IMF-fixdate, the only one that is still sent
//   Sunday, 06-Nov-94 08:49:37 GMT     RFC 850
//   Sun Nov  6 08:49:37 1994           asctime

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const TIME = '(?<hour>\\d\\d):(?<minute>\\d\\d):(?<second>\\d\\d)';
const FORMS = [
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\\d\\d) (?<month>[A-Z][a-z]{2}) (?<year>\\d{4}) ${TIME} GMT$`),
  new RegExp(
    `^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\\d\\d)-(?<month>[A-Z][a-z]{2})-(?<year>\\d\\d) ${TIME} GMT$`,
  ),
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?<month>[A-Z][a-z]{2}) (?<day>[ \\d]\\d) ${TIME} (?<year>\\d{4})$`),
];

/**
 * Unix milliseconds, or NaN: not a date. `unixMs` is now: a year of two digits is the latest that is not more than 50 years from it. The
 * name of the day is not compared with the date.
 */
export function parseHttpDate(text: string, unixMs: number): number {
  for (const form of FORMS) {
    const groups = form.exec(text)?.groups;
    if (groups) return valueOf(groups, unixMs);
  }
  return Number.NaN;
}

function valueOf(groups: Record<string, string>, unixMs: number): number {
  const month = MONTHS.indexOf(groups['month'] ?? '');
  const [day, hour, minute, second] = ['day', 'hour', 'minute', 'second'].map((name) => Number(groups[name]));
  const year = yearOf(groups['year'] ?? '', unixMs);
  if (month < 0 || day === undefined || hour === undefined || minute === undefined || second === undefined)
    return Number.NaN;
  // A leap second counts as the second before it.
  if (hour > 23 || minute > 59 || second > 60) return Number.NaN;
  if (day < 1 || day > daysOf(month, year)) return Number.NaN;
  return (((daysBefore(year, month) + day - 1) * 24 + hour) * 60 + minute) * 60_000 + Math.min(second, 59) * 1000;
}

/** Good to a day or so, which is enough to choose a century by. */
const YEAR_MS = 365.2425 * 86_400_000;

function yearOf(digits: string, unixMs: number): number {
  if (digits.length === 4) return Number(digits);
  const latest = 1970 + Math.floor(unixMs / YEAR_MS) + 50;
  return latest - ((latest - Number(digits)) % 100);
}

const isLeap = (year: number) => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;

/** `month` from 0. */
function daysOf(month: number, year: number): number {
  if (month === 1) return isLeap(year) ? 29 : 28;
  return month === 3 || month === 5 || month === 8 || month === 10 ? 30 : 31;
}

/** Days from the first of January 1970 to the first of a month. */
function daysBefore(year: number, month: number): number {
  const years = year - 1;
  let days = years * 365 + Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400) - 719_162;
  for (let before = 0; before < month; before++) days += daysOf(before, year);
  return days;
}
