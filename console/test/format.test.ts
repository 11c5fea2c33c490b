import { expect, test } from 'vitest'
import { duration, number, time } from '../src/lib/format'

test.each([
  [-3, { unit: 's', n: 0 }],
  [59.9, { unit: 's', n: 59 }],
  [60, { unit: 'min', n: 1 }],
  [3599, { unit: 'min', n: 59 }],
  [3600, { unit: 'h', n: 1 }],
  [47 * 3600, { unit: 'h', n: 47 }],
  [48 * 3600, { unit: 'd', n: 2 }],
])('%d seconds', (seconds, expected) => {
  expect(duration(seconds)).toEqual(expected)
})

test.each([
  [0, 'en-GB', '0'],
  [0.12345, 'en-GB', '0.123'],
  [1.239, 'en-GB', '1.24'],
  [12.34, 'en-GB', '12.3'],
  [-12.34, 'en-GB', '-12.3'],
  [1234.5, 'en-GB', '1,235'],
  [12.34, 'ru', '12,3'],
  [Number.NaN, 'en-GB', '–'],
])('%d in %s', (value, locale, expected) => {
  expect(number(value, [locale])).toBe(expected)
})

test('a time of another day carries its date', () => {
  const now = new Date(2026, 10, 22, 12, 0)
  expect(time(new Date(2026, 10, 22, 9, 5), now, ['en-GB'])).toBe('09:05')
  expect(time(new Date(2026, 10, 21, 9, 5), now, ['en-GB'])).toContain('21/11')
})
