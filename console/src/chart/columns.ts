/** Readings and hourly bands laid on one time axis for the chart. Pure: arrays in, arrays out. */
import type { Readings } from '../lib/types'

/** `undefined` = nothing at this time (the line runs on), `null` = a hole (the line breaks). */
export type Column = (number | null | undefined)[]

export interface ChartColumns {
  /** Epoch seconds, ascending. */
  t: number[]
  value: Column
  low: Column
  high: Column
  expected: Column
  bandLow: Column
  bandHigh: Column
}

const HOUR_MS = 3_600_000
/**
 * A pause of more than this many intervals is a hole: of the usual one and of those beside it, because a series may
 * report rarely in its past and often now.
 */
const HOLE = 5

/** The usual distance of `t` (ms): their median, or an hour if there are fewer than two. */
function usualStep(t: number[]): number {
  const steps = t.slice(1).map((v, i) => v - (t[i] as number)).toSorted((a, b) => a - b)
  return steps[steps.length >> 1] ?? HOUR_MS
}

interface Row {
  value?: number | null
  low?: number | null
  high?: number | null
  expected?: number | null
  bandLow?: number | null
  bandHigh?: number | null
}

/** Bands hold from their hour to the next one, so they are drawn as steps, cut to [start, end] (ms). */
export function chartColumns(readings: Pick<Readings, 'columns' | 'band'>, start: number, end: number): ChartColumns {
  const rows = new Map<number, Row>()
  const row = (at: number): Row => {
    let found = rows.get(at)
    if (!found) rows.set(at, (found = {}))
    return found
  }
  const { columns, band } = readings
  const usual = usualStep(columns.t)
  const steps = columns.t.slice(1).map((at, i) => at - (columns.t[i] as number))
  columns.t.forEach((at, i) => {
    Object.assign(row(at), { value: columns.value[i], low: columns.low[i], high: columns.high[i] })
    const [before, step, after] = [steps[i - 1] ?? 0, steps[i] ?? 0, steps[i + 1] ?? 0]
    if (step > HOLE * Math.max(usual, before, after)) Object.assign(row(at + 1), { value: null, low: null, high: null })
  })
  band.t.forEach((hour, i) => {
    const from = Math.max(start, hour)
    const to = Math.min(end, hour + HOUR_MS) - 1
    if (to <= from) return
    const facts = { expected: band.expected[i], bandLow: band.low[i], bandHigh: band.high[i] }
    Object.assign(row(from), facts)
    Object.assign(row(to), facts)
    const next = band.t[i + 1]
    if (next !== undefined && next > hour + HOUR_MS)
      Object.assign(row(hour + HOUR_MS), { expected: null, bandLow: null, bandHigh: null })
  })
  const t = [...rows.keys()].toSorted((a, b) => a - b)
  const column = (name: keyof Row): Column => t.map((at) => rows.get(at)?.[name])
  return {
    t: t.map((at) => at / 1000),
    value: column('value'),
    low: column('low'),
    high: column('high'),
    expected: column('expected'),
    bandLow: column('bandLow'),
    bandHigh: column('bandHigh'),
  }
}

/** What the chart shows, in figures: the accessible twin is made of these. */
export interface Summary {
  n: number
  min: number
  max: number
  last: number
  outside: number
  expected: number | null
  low: number | null
  high: number | null
}

export function summary({ columns, band }: Pick<Readings, 'columns' | 'band'>): Summary | null {
  if (columns.t.length === 0) return null
  const hours = new Map(band.t.map((hour, i) => [hour, i]))
  let outside = 0
  columns.t.forEach((at, i) => {
    const hour = hours.get(Math.floor(at / HOUR_MS) * HOUR_MS)
    if (hour === undefined) return
    const value = columns.value[i] as number
    if (value < (band.low[hour] as number) || value > (band.high[hour] as number)) outside++
  })
  const newest = hours.get(Math.floor((columns.t.at(-1) as number) / HOUR_MS) * HOUR_MS)
  const of = (column: number[]): number | null => (newest === undefined ? null : (column[newest] ?? null))
  return {
    n: columns.n.reduce((sum, n) => sum + n, 0),
    min: columns.low.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    max: columns.high.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
    last: columns.value.at(-1) as number,
    outside,
    expected: of(band.expected),
    low: of(band.low),
    high: of(band.high),
  }
}

/** Points kept while live values arrive. */
export const MAX_POINTS = 5000

/** Append one live reading; a repeated or older time changes nothing. */
export function append(readings: Readings, at: number, value: number, quality: number): boolean {
  const { columns } = readings
  const last = columns.t.at(-1)
  if (last !== undefined && at <= last) return false
  columns.t.push(at)
  columns.value.push(value)
  columns.low.push(value)
  columns.high.push(value)
  columns.n.push(1)
  columns.quality.push(quality)
  if (columns.t.length > MAX_POINTS) for (const column of Object.values(columns)) column.shift()
  return true
}
