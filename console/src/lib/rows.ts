/** Rows of the district table and of the sensor list, worked out from what the city holds. */
import type { City, Live } from './city.svelte'
import { type Health, median } from './judge'
import type { Device, Priority } from './types'

/** Metrics worth a column, most telling first; a city that has none of them shows what most of its sensors report. */
const TELLING = ['pm25', 'noise', 'temperature', 'speed', 'flow', 'power', 'no2', 'water_pressure', 'level']

/** The place of `metric` in that order; the same for all that are not in it. */
export const rankOf = (metric: string): number => {
  const place = TELLING.indexOf(metric)
  return place < 0 ? TELLING.length : place
}

export interface KeyMetric {
  metric: string
  unit: string
}

export function keyMetrics(latest: Iterable<Pick<Live, 'metric' | 'unit'>>, limit: number): KeyMetric[] {
  const seen = new Map<string, { unit: string; n: number }>()
  for (const { metric, unit } of latest) {
    const known = seen.get(metric)
    if (known) known.n++
    else seen.set(metric, { unit, n: 1 })
  }
  return [...seen]
    .toSorted(([a, x], [b, y]) => rankOf(a) - rankOf(b) || y.n - x.n || a.localeCompare(b))
    .slice(0, limit)
    .map(([metric, { unit }]) => ({ metric, unit }))
}

export interface DistrictRow {
  id: string
  name: string
  online: number
  total: number
  open: number
  alerts: Record<Priority, number>
  health: Health
  /** One per key metric: the median over the district, NaN where nothing reports it. */
  values: number[]
}

type Holdings = Pick<City, 'districts' | 'devices' | 'alerts' | 'bySensor' | 'health' | 'districtName'>

export function districtRows(city: Holdings, metrics: string[]): DistrictRow[] {
  const rows = new Map<string, DistrictRow & { samples: number[][] }>()
  const row = (id: string) => {
    let found = rows.get(id)
    if (!found) {
      found = {
        id,
        name: city.districtName.get(id) ?? id,
        online: 0,
        total: 0,
        open: 0,
        alerts: { critical: 0, high: 0, medium: 0, low: 0 },
        health: 'ok',
        values: [],
        samples: metrics.map(() => []),
      }
      rows.set(id, found)
    }
    return found
  }
  for (const district of city.districts) row(district.id)
  for (const device of city.devices) {
    const r = row(device.district)
    r.total++
    if (device.online !== false) r.online++
    for (const live of city.bySensor.get(device.id) ?? []) {
      const column = metrics.indexOf(live.metric)
      if (column >= 0 && device.online !== false) r.samples[column]?.push(live.value)
    }
  }
  for (const alert of city.alerts) {
    const r = row(alert.district)
    r.open++
    r.alerts[alert.priority]++
    if (alert.priority === 'critical' || alert.priority === 'high') r.health = 'critical'
    else if (r.health === 'ok') r.health = 'warning'
  }
  return [...rows.values()]
    .map(({ samples, ...r }) => ({ ...r, values: samples.map(median) }))
    .toSorted((a, b) => a.name.localeCompare(b.name))
}

export interface SensorFilter {
  district: string | null
  words: string
  health: Health | null
}

const RANK: Record<Health, number> = { critical: 0, warning: 1, offline: 2, ok: 3 }

/** Sensors that match, the ones in trouble first. `words` must all occur in name, id, kind or `kindName(kind)`. */
export function sensorRows(city: Holdings, filter: SensorFilter, kindName: (kind: string) => string): Device[] {
  const words = filter.words.toLowerCase().split(/\s+/).filter(Boolean)
  const health = (device: Device): Health => city.health.get(device.id) ?? 'ok'
  return city.devices
    .filter((device) => {
      if (filter.district && device.district !== filter.district) return false
      if (filter.health && health(device) !== filter.health) return false
      if (!words.length) return true
      const text = `${device.name} ${device.id} ${device.kind} ${kindName(device.kind)}`.toLowerCase()
      return words.every((word) => text.includes(word))
    })
    .toSorted((a, b) => RANK[health(a)] - RANK[health(b)] || (a.name || a.id).localeCompare(b.name || b.id))
}
