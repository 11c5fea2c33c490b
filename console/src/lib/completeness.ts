/** How complete a series was, hour by hour: what the strip shows and says. Pure; no texts. */
import type { Completeness } from './types'

/** An hour with a smaller share of its readings is told. */
export const LEAST = 0.9

export interface Hour {
  /** Epoch milliseconds of its beginning. */
  at: number
  received: number
  /** 0 to 1; null: nothing was due, or the series reports less often than hourly. */
  share: number | null
}

export interface Hours {
  all: Hour[]
  /** How many are under `LEAST`, and the worst of them, the first of equals. */
  low: number
  worst: Hour | null
}

export function hoursOf({ columns }: Pick<Completeness, 'columns'>): Hours {
  const all = columns.t.map((at, i) => ({ at, received: columns.received[i] ?? 0, share: columns.completeness[i] ?? null }))
  const low = all.filter(({ share }) => share !== null && share < LEAST)
  const worst = low.reduce<Hour | null>((least, hour) => (least && (least.share ?? 0) <= (hour.share ?? 0) ? least : hour), null)
  return { all, low: low.length, worst }
}

/** Percent with one decimal, rounded down: what is not all is never 100 %. */
export const percent = (share: number): number => Math.floor(share * 1000 + 1e-9) / 10
