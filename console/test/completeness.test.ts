import { describe, expect, test } from 'vitest'
import { hoursOf, percent } from '../src/lib/completeness'

const columns = (completeness: (number | null)[]) => ({
  columns: { t: completeness.map((_, k) => k * 3_600_000), received: completeness.map((share) => (share ?? 0) * 120), completeness },
})

describe('the hours of a series', () => {
  test('name the first of the worst, and count those under 90 %', () => {
    const { all, low, worst } = hoursOf(columns([1, 0.89, 0.25, 0.9, 0.25, null]))
    expect([all.length, low, worst]).toEqual([6, 3, { at: 2 * 3_600_000, received: 30, share: 0.25 }])
  })

  test('in which nothing was due are neither good nor bad', () => {
    expect(hoursOf(columns([null, null]))).toMatchObject({ low: 0, worst: null })
  })
})

test.each([
  [1, 100],
  [0.9999, 99.9],
  [0.57, 57],
  [0.29, 29],
  [0, 0],
])('%f is %f percent: rounded down', (share, expected) => {
  expect(percent(share)).toBe(expected)
})
