import { describe, expect, test } from 'vitest'
import { append, chartColumns, MAX_POINTS, summary } from '../src/chart/columns'
import type { Readings } from '../src/lib/types'

const HOUR = 3_600_000
const readings = (t: number[], value: number[], hours: number[] = []): Readings => ({
  start: '',
  end: '',
  width_seconds: null,
  columns: { t, value, low: value.map((v) => v - 1), high: value.map((v) => v + 1), n: value.map(() => 1), quality: value.map(() => 0) },
  band: { t: hours, expected: hours.map(() => 10), low: hours.map(() => 8), high: hours.map(() => 12) },
})

describe('the columns of the chart', () => {
  test('hold each band from its hour to the next, cut to what is shown', () => {
    const { bandLow, t } = chartColumns(readings([], [], [0, HOUR]), HOUR / 2, 1.5 * HOUR)
    expect(t).toEqual([HOUR / 2, HOUR - 1, HOUR, 1.5 * HOUR - 1].map((ms) => ms / 1000))
    expect(bandLow).toEqual([8, 8, 8, 8])
  })

  test('break the band where an hour is missing', () => {
    const { bandHigh, t } = chartColumns(readings([], [], [0, 2 * HOUR]), 0, 3 * HOUR)
    expect(bandHigh[t.indexOf(HOUR / 1000)]).toBeNull()
  })

  test('break the line in a silence and run on between band edges', () => {
    const { t, value } = chartColumns(readings([1000, 2000, 3000, 60_000], [1, 2, 3, 4], [0]), 0, 90_000)
    expect(t).toEqual([0, 1, 2, 3, 3.001, 60, 89.999])
    expect(value).toEqual([undefined, 1, 2, 3, null, 4, undefined])
  })
})

test('a rare past and a frequent present are one unbroken line', () => {
  const rare = [0, 300, 600, 900].map((s) => s * 1000)
  const often = Array.from({ length: 20 }, (_, i) => (1200 + 5 * i) * 1000)
  const t = [...rare, ...often]
  expect(chartColumns(readings(t, t.map(() => 1)), 0, 2_000_000).value).not.toContain(null)
})

describe('the summary', () => {
  test('counts what is outside the band of its own hour', () => {
    expect(summary(readings([10, 20, HOUR + 10], [10, 13, 99], [0]))).toEqual({
      n: 3, min: 9, max: 100, last: 99, outside: 1, expected: null, low: null, high: null,
    })
  })

  test('tells what is expected now', () => {
    expect(summary(readings([10], [10], [0]))).toMatchObject({ outside: 0, expected: 10, low: 8, high: 12 })
  })

  test('is nothing for no readings', () => {
    expect(summary(readings([], []))).toBeNull()
  })
})

test('a live reading is appended once, and only if it is newer', () => {
  const shown = readings([10], [1])
  expect([append(shown, 20, 2, 0), append(shown, 20, 3, 0), append(shown, 15, 3, 0)]).toEqual([true, false, false])
  expect(shown.columns.value).toEqual([1, 2])
})

test(`live readings never exceed ${MAX_POINTS} points`, () => {
  const shown = readings([], [])
  for (let at = 1; at <= MAX_POINTS + 1; at++) append(shown, at, at, 0)
  expect(shown.columns.t).toHaveLength(MAX_POINTS)
  expect(shown.columns.t[0]).toBe(2)
})
