/** The words of the HTTP contract: what /api/v1 sends. Times are RFC 3339 strings unless a name says otherwise. */

export type Priority = 'critical' | 'high' | 'medium' | 'low'
export const PRIORITIES: readonly Priority[] = ['critical', 'high', 'medium', 'low']

/** What is behind an alert, in the order in which the filter lists them. */
export const CAUSES = ['event', 'sensor fault', 'gateway fault', 'unclear'] as const
export type Cause = (typeof CAUSES)[number]

export type AlertState = 'open' | 'acknowledged' | 'returned' | 'resolved'

export type Role = 'viewer' | 'operator' | 'engineer' | 'admin'

export interface Me {
  /** The city's name, if the server tells it. */
  city?: string
  name: string
  role: Role
}

export interface District {
  id: string
  name: string
  /** A closed ring of [longitude, latitude]; may be empty. */
  outline: [number, number][]
}

export interface Device {
  id: string
  kind: string
  district: string
  name: string
  lat: number | null
  lon: number | null
  online: boolean | null
  since: string | null
}

export interface LatestItem {
  series: number
  device: string
  metric: string
  district: string
  unit: string
  value: number
  measured: string
  quality: string[]
  severity: number
}

export interface Snapshot {
  epoch: string
  n: number
  items: LatestItem[]
}

/**
 * What was looked at to tell what is behind an alert. Deviations are in a series' own usual deviations. Alerts that are
 * older than a field come without it.
 */
export interface Card {
  deviation?: number | null
  /** Sensors of the same metric near by, the median of their deviations, each of them, and how many deviate likewise. */
  peers?: number
  peers_deviation?: number | null
  peer_deviations?: number[]
  agreeing?: number
  /** Other devices near by. */
  near?: number
  near_strange?: number
  /** Other metrics of the same device. */
  siblings?: number
  siblings_strange?: number
  /** Devices that fell silent together, of so many in their districts. */
  silent?: number
  of?: number
  battery?: number | null
  rssi?: number | null
  /** Alerts of the same rule about the same subject before this one. */
  past?: number
  /** Upper bound of the share of readings of this metric that are as odd. */
  at_most?: number | null
  /** Severity from which novelty opens an alert here, and the alerts a day that it keeps to. */
  needed?: number | null
  budget?: number | null
}

export interface Facts {
  code: string
  rule: string
  priority: Priority
  district: string
  device: string
  metric: string
  series: number
  unit: string
  measured: string
  value: number | null
  expected: number | null
  low: number | null
  high: number | null
  limit: number | null
  duration_seconds: number
  severity: number
  retrospective: boolean
  classification?: Cause | null
  card?: Card | null
  /** The alert that opened first of one cause (itself, if it was the first); empty or absent where there is none. */
  incident?: string
  /** How many came to this incident after its first alert. */
  joined?: number
  text: string
}

export interface Alert extends Facts {
  id: string
  state: AlertState
  version: number
  opened_at: string
  changed_at: string
  cleared_at: string | null
  owner: string | null
  worst: Facts
  comments: { at: string; by: string; text: string }[]
}

export interface Readings {
  start: string
  end: string
  width_seconds: number | null
  columns: { t: number[]; value: number[]; low: number[]; high: number[]; n: number[]; quality: number[] }
  band: { t: number[]; expected: number[]; low: number[]; high: number[] }
}

/** How many readings of a series came of those that were due, in the hours that are over. */
export interface Completeness {
  series: number
  metric: string
  interval_seconds: number | null
  interval: 'declared' | 'learned' | null
  due: number
  received: number
  /** 0 to 1; null: nothing was due. */
  completeness: number | null
  columns: { t: number[]; received: number[]; completeness: (number | null)[] }
}

/** One thing that happened to an alert. */
export interface AlertEvent {
  kind: string
  at: string
  recorded: string
  actor: string
  comment: string
}

/** What changed since the last frame, in columns of equal length; times are epoch milliseconds. */
export interface Frame {
  epoch: string
  n: number
  sent: number
  series: number[]
  measured: number[]
  value: number[]
  quality: number[]
  severity: number[]
  alerts: string[]
  online: string[]
  offline: string[]
  /** How long the server has not heard the processor: small in a quiet city, large when the processor is dead. */
  live_age_seconds?: number
}

/** Names of the quality bits, lowest first (core/quality.py). */
export const QUALITY = [
  'range',
  'rate',
  'spike',
  'flat',
  'late',
  'future',
  'skew',
  'duplicate',
  'conflict',
  'unit',
  'neighbour',
  'stale',
  'suspect',
] as const
export type QualityCode = (typeof QUALITY)[number]

export const qualityCodes = (mask: number): QualityCode[] => QUALITY.filter((_, bit) => mask & (1 << bit))
