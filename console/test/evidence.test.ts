import { describe, expect, test } from 'vitest'
import { alike, because, causeOf, FARTHEST, joinedTo, oneIn, scaleOf, stripOf, WIDE } from '../src/lib/evidence'
import { en } from '../src/lib/i18n/en'
import { pinOf } from '../src/lib/pin'
import type { Alert, Card, Cause } from '../src/lib/types'

const judged = (classification: Cause | null, card: Card | null, code = 'novelty.season', metric = 'pm25') => ({
  classification, card, code, metric,
})
const alert = (facts: Partial<Alert>): Alert =>
  ({ id: 'a', rule: 'r', device: 'd', metric: 'm', opened_at: '2026-11-22T02:00:00.000Z', ...facts }) as Alert

describe('the reason of a classification', () => {
  test.each([
    ['many fell silent', judged('gateway fault', { silent: 31, of: 40 }, 'gap', ''), 'together', 31, 40],
    ['one fell silent', judged('sensor fault', {}, 'gap', ''), 'alone', 0, 0],
    ['many that flap', judged('gateway fault', { silent: 9, of: 40 }, 'flapping', ''), 'many', 9, 40],
    ['one that is late', judged('sensor fault', {}, 'late', ''), 'alone', 0, 0],
    ['an impossible value', judged('sensor fault', { peers: 8 }, 'range'), 'impossible', 0, 0],
    ['a flat line', judged('sensor fault', { peers: 8 }, 'novelty.flat'), 'repeated', 0, 0],
    ['a clock', judged('sensor fault', {}, 'skew'), 'clock', 0, 0],
    ['a drift', judged('sensor fault', { peers: 8, agreeing: 0 }, 'novelty.peer'), 'drifted', 0, 0],
    ['a battery', judged('sensor fault', { peers: 8 }, 'threshold.below', 'battery'), 'own', 0, 0],
    ['calm peers', judged('sensor fault', { peers: 8, agreeing: 1, near: 8 }), 'calm.peers', 1, 8],
    ['calm devices where peers are few', judged('sensor fault', { peers: 2, agreeing: 2, near: 6, near_strange: 1 }), 'calm.near', 1, 6],
    ['agreeing peers', judged('event', { peers: 8, agreeing: 6, near: 8, near_strange: 5 }), 'strange.peers', 6, 8],
    ['strange devices and no peers', judged('event', { near: 8, near_strange: 7 }), 'strange.near', 7, 8],
    ['strange devices that outweigh a few peers', judged('event', { peers: 8, agreeing: 2, near: 8, near_strange: 7 }), 'strange.near', 7, 8],
    ['nobody there to ask', judged('unclear', { peers: 2, agreeing: 2, near: 1 }), 'few', 0, 0],
    ['neither calm nor strange', judged('unclear', { peers: 5, agreeing: 1, near: 5, near_strange: 2 }), 'between', 0, 0],
  ] as const)('%s', (_, facts, why, k, n) => {
    expect(because(facts)).toEqual({ why, k, n })
    expect(`why.${why}` in en).toBe(true)
  })

  test.each([
    ['no classification', judged(null, { peers: 8 })],
    ['no card', judged('event', null)],
    ['a card without anything', judged('event', {})],
    ['a gateway without numbers', judged('gateway fault', {})],
    ['a cause of a later server', judged('volcano' as Cause, { peers: 8 })],
  ])('is not invented where there is %s', (_, facts) => {
    expect(because(facts)).toBeNull()
  })
})

test('a cause that this console does not know is none', () => {
  expect([causeOf({ classification: 'event' }), causeOf({ classification: 'volcano' as Cause }), causeOf({})]).toEqual(['event', null, null])
})

describe('an incident', () => {
  test('counts those that joined: what the server said, or more if more are known', () => {
    const founder = alert({ id: 'f', incident: 'f', joined: 2 })
    const members = ['x', 'y', 'z'].map((id) => alert({ id, incident: 'f' }))
    expect([joinedTo(founder, []), joinedTo(founder, [founder, ...members])]).toEqual([2, 3])
  })

  test('is counted at its founder only, and where there is one', () => {
    expect([joinedTo(alert({ incident: 'f', joined: 5 }), []), joinedTo(alert({}), []), joinedTo(alert({ incident: '' }), [])]).toEqual([0, 0, 0])
  })
})

test('alike are earlier alerts of the same rule, device and metric, newest first', () => {
  const at = (id: string, hour: number, more: Partial<Alert> = {}) => alert({ id, opened_at: `2026-11-22T0${hour}:00:00.000Z`, ...more })
  const others = [at('old', 1), at('a', 5), at('new', 3), at('later', 6), at('rule', 2, { rule: 'x' }), at('metric', 2, { metric: 'x' }), at('device', 2, { device: 'x' })]
  expect(alike(at('a', 5), others).map(({ id }) => id)).toEqual(['new', 'old'])
})

describe('how rare a reading is', () => {
  test.each([
    [1 / 20_461, 20_000],
    [1 / 950, 950],
    [1 / 20, 20],
    [1 / 19, null],
    [0, null],
    [2, null],
    [Number.NaN, null],
    [null, null],
    [undefined, null],
  ])('%d', (share, expected) => {
    expect(oneIn(share)).toBe(expected)
  })
})

describe('the scale of a value', () => {
  const facts = { value: 164, low: 12, high: 27.5, expected: 19.2, limit: null }

  test('puts low, expected, high and value in their order, inside the picture', () => {
    const scale = scaleOf(facts)
    const places = [0, scale?.low, scale?.expected, scale?.high, scale?.value, WIDE] as number[]
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(new Set(places).size).toBe(6)
  })

  test('holds for a value below its band, and for a band without width', () => {
    expect(scaleOf({ ...facts, value: -40 })?.value).toBeLessThan(scaleOf({ ...facts, value: -40 })?.low as number)
    expect(scaleOf({ value: 5, low: 5, high: 5, expected: 5, limit: null })).toEqual({ value: 160, low: 160, high: 160, expected: 160, limit: null })
  })

  test.each(['value', 'low', 'high'])('is nothing without %s', (name) => {
    expect(scaleOf({ ...facts, [name]: null })).toBeNull()
    expect(scaleOf({ ...facts, [name]: Number.NaN })).toBeNull()
  })
})

describe('the strip of deviations', () => {
  test('stacks dots that would cover each other', () => {
    expect(stripOf({ peer_deviations: [0, 0, 0, 3] })).toMatchObject({ rows: 3, own: null, middle: null })
    expect(stripOf({ peer_deviations: [0, 0, 0, 3] })?.dots.map(({ row }) => row)).toEqual([0, 1, 2, 0])
  })

  test('keeps what is far out at the edge, and says so', () => {
    const strip = stripOf({ deviation: 50, peer_deviations: [-50, 0] })
    expect(strip).toMatchObject({ reach: FARTHEST, cut: true })
    for (const x of [strip?.own, ...(strip?.dots ?? []).map((dot) => dot.x)]) {
      expect(x).toBeGreaterThan(4)
      expect(x).toBeLessThan(WIDE - 4)
    }
  })

  test('always shows where strange begins', () => {
    const strip = stripOf({ deviation: 0.1 })
    expect(strip?.cut).toBe(false)
    expect(strip?.strange[0]).toBeGreaterThan(0)
    expect(strip?.strange[1]).toBeLessThan(WIDE)
  })

  test('falls back to the median where each is not known', () => {
    expect(stripOf({ peers: 8, peers_deviation: 0 })).toMatchObject({ dots: [], middle: WIDE / 2 })
    expect(stripOf({ peers: 8, peers_deviation: 0, peer_deviations: [1] })?.middle).toBeNull()
  })

  test.each([[{}], [{ deviation: null, peers: 0, peers_deviation: null, peer_deviations: [] }], [{ deviation: Number.NaN }]])('is nothing for %j', (card) => {
    expect(stripOf(card)).toBeNull()
  })
})

test.each([
  ['#alert/6f1d3c1e-5a0b', { kind: 'alert', id: '6f1d3c1e-5a0b' }],
  ['#incident/x', { kind: 'incident', id: 'x' }],
  ['#alerts', null],
  ['#alert/', null],
  ['#alert/../me', null],
  [`#alert/${'x'.repeat(65)}`, null],
  ['', null],
])('the address %s', (hash, expected) => {
  expect(pinOf(hash)).toEqual(expected)
})
