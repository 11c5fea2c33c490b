import { describe, expect, test } from 'vitest'
import { byUrgency, healthOf, median } from '../src/lib/judge'
import { keyMetrics, sensorRows } from '../src/lib/rows'
import type { Alert, Device } from '../src/lib/types'

const device = (online: boolean | null, id = 'd', name = ''): Device => ({
  id,
  kind: 'air',
  district: 'x',
  name,
  lat: null,
  lon: null,
  online,
  since: null,
})
const alert = (facts: Partial<Alert>): Alert =>
  ({ id: 'a', state: 'open', priority: 'low', retrospective: false, opened_at: '2026-11-22T02:00:00.000Z', ...facts }) as Alert

describe('the health of a sensor', () => {
  test.each([
    ['no alert', true, [], 'ok'],
    ['presence unknown', null, [], 'ok'],
    ['gone', false, [], 'offline'],
    ['a low alert', true, [alert({})], 'warning'],
    ['a high alert among low ones', true, [alert({}), alert({ priority: 'high' })], 'critical'],
    ['a high alert while gone', false, [alert({ priority: 'high' })], 'critical'],
    ['only a resolved alert', true, [alert({ priority: 'critical', state: 'resolved' })], 'ok'],
    ['only one in hindsight', true, [alert({ priority: 'critical', retrospective: true })], 'ok'],
    ['an acknowledged alert still stands', true, [alert({ priority: 'critical', state: 'acknowledged' })], 'critical'],
  ] as const)('%s', (_, online, alerts, expected) => {
    expect(healthOf(device(online), [...alerts])).toBe(expected)
  })
})

test('the inbox is ordered by priority, then newest', () => {
  const alerts = [
    alert({ id: 'low-new', opened_at: '2026-11-22T03:00:00.000Z' }),
    alert({ id: 'high-old', priority: 'high', opened_at: '2026-11-22T01:00:00.000Z' }),
    alert({ id: 'high-new', priority: 'high', opened_at: '2026-11-22T02:00:00.000Z' }),
    alert({ id: 'critical', priority: 'critical', opened_at: '2026-11-20T02:00:00.000Z' }),
  ]
  expect(alerts.toSorted(byUrgency).map(({ id }) => id)).toEqual(['critical', 'high-new', 'high-old', 'low-new'])
})

test.each([
  [[], Number.NaN],
  [[3], 3],
  [[9, 1, 5], 5],
  [[1, 2, 3, 1000], 2.5],
])('the median of %j', (values, expected) => {
  expect(median(values)).toBe(expected)
})

test('key metrics are the telling ones first, then the most frequent', () => {
  const of = (metric: string) => ({ metric, unit: 'u' })
  const seen = [of('rare'), of('often'), of('often'), of('noise'), of('pm25')]
  expect(keyMetrics(seen, 3).map(({ metric }) => metric)).toEqual(['pm25', 'noise', 'often'])
})

test('sensors are found by every word in name, id or kind, those in trouble first', () => {
  const devices = [device(true, 'air-1', 'Park east'), device(true, 'air-2', 'Park west'), device(true, 'air-3', 'Square')]
  const city = {
    districts: [],
    devices,
    alerts: [],
    bySensor: new Map(),
    health: new Map([['air-2', 'critical' as const]]),
    districtName: new Map(),
  }
  const find = (words: string) => sensorRows(city, { district: null, words, health: null }, () => 'воздух').map(({ id }) => id)
  expect(find('')).toEqual(['air-2', 'air-1', 'air-3'])
  expect(find('PARK east')).toEqual(['air-1'])
  expect(find('воздух')).toHaveLength(3)
  expect(find('nothing')).toEqual([])
})
