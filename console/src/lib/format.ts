/** Numbers, times and durations as text. Language is an argument, so that a test can ask for each. */

export type Duration = { unit: 's' | 'min' | 'h' | 'd'; n: number }

/** The largest unit in which `seconds` is at least 1 (2 for days), rounded down: 89 s stays "1 min". */
export function duration(seconds: number): Duration {
  const s = Math.max(0, Math.floor(seconds))
  if (s < 60) return { unit: 's', n: s }
  if (s < 3600) return { unit: 'min', n: Math.floor(s / 60) }
  if (s < 2 * 86_400) return { unit: 'h', n: Math.floor(s / 3600) }
  return { unit: 'd', n: Math.floor(s / 86_400) }
}

const numbers = new Map<string, Intl.NumberFormat>()

/** `value` with about three significant digits: 12.34 → 12.3, 1234.5 → 1,235, 0.1234 → 0.123. */
export function number(value: number, locales: readonly string[]): string {
  if (!Number.isFinite(value)) return '–'
  return digits(decimals(Math.abs(value)), 0, locales).format(value)
}

const decimals = (size: number): number => (size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3)

function digits(most: number, least: number, locales: readonly string[]): Intl.NumberFormat {
  const key = `${locales[0]}${most}${least}`
  let format = numbers.get(key)
  if (!format) {
    format = new Intl.NumberFormat([...locales], { maximumFractionDigits: most, minimumFractionDigits: least })
    numbers.set(key, format)
  }
  return format
}

/** `values` with the same decimals, those of the largest: 8.95 above 11.2 is 9.0. */
export function column(values: readonly number[], locales: readonly string[]): string[] {
  const known = values.filter(Number.isFinite)
  const n = decimals(Math.max(0, ...known.map(Math.abs)))
  return values.map((value) => (Number.isFinite(value) ? digits(n, n, locales).format(value) : '–'))
}

const signs = new Map<string, Intl.NumberFormat>()

/** A deviation: one decimal and always its sign, except for nothing at all: +8.2, -0.4, 0. */
export function signed(value: number, locales: readonly string[]): string {
  if (!Number.isFinite(value)) return '–'
  const key = locales[0] ?? ''
  let format = signs.get(key)
  if (!format) {
    format = new Intl.NumberFormat([...locales], { maximumFractionDigits: 1, signDisplay: 'exceptZero' })
    signs.set(key, format)
  }
  return format.format(value)
}

const times = new Map<string, Intl.DateTimeFormat>()

/** A time of day, with the date when it is another day than `now`. */
export function time(at: Date, now: Date, locales: readonly string[]): string {
  const today = at.toDateString() === now.toDateString()
  const key = `${locales[0]}${today}`
  let format = times.get(key)
  if (!format) {
    const clock = { hour: '2-digit', minute: '2-digit', hour12: false } as const
    format = new Intl.DateTimeFormat([...locales], today ? clock : { ...clock, day: '2-digit', month: '2-digit' })
    times.set(key, format)
  }
  return format.format(at)
}

/** The browser's zone as its distance from UTC: UTC+5. */
export const zone = (at: Date): string => {
  const parts = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' }).formatToParts(at)
  return (parts.find(({ type }) => type === 'timeZoneName')?.value ?? '').replace('GMT', 'UTC')
}
