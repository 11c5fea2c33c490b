/** What an evidence card says: the reason of a classification and the geometry of its two pictures. Pure; no texts. */
import type { Alert, Card, Cause, Facts } from './types'
import { CAUSES } from './types'

/** Fewer peers or devices near by say nothing (processors/alerting/triage.py). */
const LEAST = 3
/** From so many usual deviations on something is strange (same place). */
export const STRANGE = 3
/** What agreeing peers weigh beside strange devices near by (same place). */
const PEERS_WEIGH = 1.5

/** The classification, if it is one that this console knows. */
export const causeOf = (alert: Pick<Facts, 'classification'>): Cause | null =>
  CAUSES.find((cause) => cause === alert.classification) ?? null

/** A cause as the last part of a message code. */
export const codeOf = (cause: Cause): string => cause.replace(' ', '_')

/** What is found about a device as a whole, alone or with many of its district. */
const OF_DEVICE: ReadonlySet<string> = new Set(['gap', 'flapping', 'late'])

const OF_VALUE: Record<string, Why> = {
  range: 'impossible',
  flat: 'repeated',
  'novelty.flat': 'repeated',
  skew: 'clock',
  'novelty.peer': 'drifted',
}

/** What decided a classification; each has a sentence `why.…`. */
export type Why =
  | 'together'
  | 'many'
  | 'alone'
  | 'impossible'
  | 'repeated'
  | 'clock'
  | 'drifted'
  | 'own'
  | 'calm.peers'
  | 'calm.near'
  | 'strange.peers'
  | 'strange.near'
  | 'few'
  | 'between'

/** The numbers that the sentence names: `k` of `n`. */
export interface Because {
  why: Why
  k: number
  n: number
}

/** Why `facts` was classified as it is; null where the console cannot say. */
export function because(facts: Pick<Facts, 'classification' | 'card' | 'code' | 'metric'>): Because | null {
  const { card, code } = facts
  const cause = causeOf(facts)
  if (!cause || !card) return null
  const peers = { k: card.agreeing ?? 0, n: card.peers ?? 0 }
  const near = { k: card.near_strange ?? 0, n: card.near ?? 0 }
  const none = { k: 0, n: 0 }
  if (cause === 'gateway fault') {
    return (card.silent ?? 0) > 1 ? { why: code === 'gap' ? 'together' : 'many', k: card.silent ?? 0, n: card.of ?? 0 } : null
  }
  if (cause === 'unclear') {
    return peers.n < LEAST && near.n < LEAST ? { why: 'few', ...none } : { why: 'between', ...none }
  }
  if (cause === 'event') {
    const share = (of: { k: number; n: number }) => (of.n < LEAST ? 0 : of.k / of.n)
    if (!share(peers) && !share(near)) return null
    return PEERS_WEIGH * share(peers) >= share(near) ? { why: 'strange.peers', ...peers } : { why: 'strange.near', ...near }
  }
  if (OF_DEVICE.has(code)) return { why: 'alone', ...none }
  const own = OF_VALUE[code] ?? (facts.metric === 'battery' || facts.metric === 'rssi' ? 'own' : null)
  if (own) return { why: own, ...none }
  if (peers.n >= LEAST) return { why: 'calm.peers', ...peers }
  return near.n >= LEAST ? { why: 'calm.near', ...near } : null
}

/** What is more frequent is no news (core/texts.py). */
const LEAST_RARE = 20

/** Of how many readings at most one is as odd, in two digits, rounded so that it stays a bound; null: not rare, or unknown. */
export function oneIn(share: number | null | undefined): number | null {
  if (!known(share) || share <= 0 || share > 1) return null
  const count = Math.floor((1 / share) * (1 + 1e-9)) // 1 / (1 / 20) is 20
  const step = 10 ** Math.max(String(count).length - 2, 0)
  return count < LEAST_RARE ? null : Math.floor(count / step) * step
}

// -- incidents ---------------------------------------------------------------------------------------------------------

/** How many joined the incident that `alert` founded: what the server told, or what is known to be active, if more. */
export function joinedTo(alert: Alert, known: readonly Alert[]): number {
  if (!alert.incident || alert.incident !== alert.id) return 0
  const seen = known.filter((other) => other.incident === alert.id && other.id !== alert.id).length
  return Math.max(alert.joined ?? 0, seen)
}

/** Earlier alerts of the same rule about the same subject, newest first. */
export const alike = (alert: Alert, others: readonly Alert[]): Alert[] =>
  others
    .filter(
      (other) =>
        other.id !== alert.id &&
        other.rule === alert.rule &&
        other.device === alert.device &&
        other.metric === alert.metric &&
        other.opened_at < alert.opened_at,
    )
    .toSorted((a, b) => b.opened_at.localeCompare(a.opened_at))

// -- pictures ----------------------------------------------------------------------------------------------------------

export const WIDE = 320
/** Room beside the outermost mark, so that its label fits. */
const ROOM = 58

/** A measured value beside what was expected, in pixels of a picture `WIDE` wide. */
export interface Scale {
  value: number
  low: number
  high: number
  expected: number | null
  limit: number | null
}

/** Where value and band stand; null where one of them is unknown. */
export function scaleOf({ value, low, high, expected, limit }: Pick<Facts, 'value' | 'low' | 'high' | 'expected' | 'limit'>): Scale | null {
  if (!known(value) || !known(low) || !known(high)) return null
  const all = [value, low, high, ...(known(expected) ? [expected] : []), ...(known(limit) ? [limit] : [])]
  const [least, most] = [Math.min(...all), Math.max(...all)]
  const at = (v: number) => (most > least ? ROOM + ((v - least) / (most - least)) * (WIDE - 2 * ROOM) : WIDE / 2)
  return { value: at(value), low: at(low), high: at(high), expected: known(expected) ? at(expected) : null, limit: known(limit) ? at(limit) : null }
}

const known = (value: number | null | undefined): value is number => value !== null && value !== undefined && Number.isFinite(value)

/** Further out than so many usual deviations, dots stand at the edge. */
export const FARTHEST = 12
export const DOT = 4
const EDGE = 14

export interface Strip {
  /** Usual deviations from the middle to the edge. */
  reach: number
  /** Whether marks stand at the edge that belong further out. */
  cut: boolean
  own: number | null
  /** One per peer; `row` counts upwards where dots would cover each other. */
  dots: { x: number; row: number }[]
  rows: number
  /** The median of the peers, where the server did not send each. */
  middle: number | null
  zero: number
  strange: [number, number]
}

/** The strip of deviations: this sensor and those near by; null where none is known. */
export function stripOf(card: Card): Strip | null {
  const peers = (card.peer_deviations ?? []).filter(known).toSorted((a, b) => a - b)
  const own = known(card.deviation) ? card.deviation : null
  const middle = peers.length || !known(card.peers_deviation) || !card.peers ? null : card.peers_deviation
  const all = [...peers, ...(own === null ? [] : [own]), ...(middle === null ? [] : [middle])]
  if (!all.length) return null
  const reach = Math.min(FARTHEST, Math.max(STRANGE + 1.5, ...all.map(Math.abs)))
  const at = (z: number) => WIDE / 2 + (Math.max(-reach, Math.min(reach, z)) / reach) * (WIDE / 2 - EDGE)
  const ends: number[] = []
  const dots = peers.map((z) => {
    const x = at(z)
    let row = ends.findIndex((end) => x - end >= 2 * DOT + 1)
    if (row < 0) row = ends.length
    ends[row] = x
    return { x, row }
  })
  return {
    reach,
    cut: all.some((z) => Math.abs(z) > reach),
    own: own === null ? null : at(own),
    dots,
    rows: ends.length,
    middle: middle === null ? null : at(middle),
    zero: at(0),
    strange: [at(-STRANGE), at(STRANGE)],
  }
}
