import { expect, test } from 'vitest'
import { column, duration, number, signed, time, zone } from '../src/lib/format'

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

test.each([
  [8.24, 'en-GB', '+8.2'],
  [-0.41, 'en-GB', '-0.4'],
  [8.24, 'ru', '+8,2'],
  [-0.01, 'en-GB', '0'],
  [0, 'en-GB', '0'],
  [Number.NaN, 'en-GB', '–'],
])('%d with its sign in %s', (value, locale, expected) => {
  expect(signed(value, [locale])).toBe(expected)
})

test('a time of another day carries its date', () => {
  const now = new Date(2026, 10, 22, 12, 0)
  expect(time(new Date(2026, 10, 22, 9, 5), now, ['en-GB'])).toBe('09:05')
  expect(time(new Date(2026, 10, 21, 9, 5), now, ['en-GB'])).toContain('21/11')
})

test('numbers that stand below each other have the decimals of the largest', () => {
  expect(column([8.95, 11.2, Number.NaN, 9], ['en-GB'])).toEqual(['9.0', '11.2', '–', '9.0'])
  expect(column([117, 8.4], ['ru'])).toEqual(['117', '8'])
  expect(column([], ['en-GB'])).toEqual([])
})

test('the zone is told as its distance from UTC', () => {
  expect(zone(new Date('2026-11-22T02:00:00Z'))).toMatch(/^UTC([+-]\d+(:\d\d)?)?$/)
})
