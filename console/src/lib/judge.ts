/** What state a device or a district is in: decided from alerts and presence, nothing else. */
import type { Alert, Device, Priority } from './types'
import { PRIORITIES } from './types'

export type Health = 'ok' | 'warning' | 'critical' | 'offline'
/** From good to bad; `offline` is doubt, not danger, so it ranks below a warning. */
export const HEALTHS: readonly Health[] = ['ok', 'offline', 'warning', 'critical']

/** Alerts that count: active and not merely recorded after the fact. */
export const counts = (alert: Alert): boolean => alert.state !== 'resolved' && !alert.retrospective

export const healthOfPriority = (priority: Priority): Health =>
  priority === 'critical' || priority === 'high' ? 'critical' : 'warning'

export const worse = (a: Health, b: Health): Health => (HEALTHS.indexOf(a) >= HEALTHS.indexOf(b) ? a : b)

/** A device with an alert shows it even when offline: the alert is the better news of the two. */
export function healthOf(device: Device, alerts: readonly Alert[]): Health {
  let health: Health = device.online === false ? 'offline' : 'ok'
  for (const alert of alerts) if (counts(alert)) health = worse(health, healthOfPriority(alert.priority))
  return health
}

/** Inbox order: priority, then newest. */
export const byUrgency = (a: Alert, b: Alert): number =>
  PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) ||
  b.opened_at.localeCompare(a.opened_at) ||
  a.id.localeCompare(b.id)

/** The middle of `values`, NaN for none. A median, so that one broken sensor does not paint a district. */
export function median(values: number[]): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 ? (sorted[half] as number) : ((sorted[half - 1] as number) + (sorted[half] as number)) / 2
}
