import { describe, expect, test } from 'vitest'
import { backoff, MAX_KEPT, Sequence } from '../src/lib/feed'
import type { Frame } from '../src/lib/types'

const frame = (n: number, epoch = 'e'): Frame => ({
  epoch,
  n,
  sent: 0,
  series: [n],
  measured: [0],
  value: [0],
  quality: [0],
  severity: [0],
  alerts: [],
  online: [],
  offline: [],
})
const numbers = (frames: Frame[] | null) => frames?.map(({ n }) => n)

describe('a sequence of frames', () => {
  test('applies the frames that follow the snapshot, one by one', () => {
    const sequence = new Sequence()
    sequence.anchor('e', 7)
    expect([8, 9, 10].map((n) => sequence.accept(frame(n)))).toEqual(['apply', 'apply', 'apply'])
    expect(sequence.n).toBe(10)
  })

  test('skips what the snapshot contains already', () => {
    const sequence = new Sequence()
    sequence.anchor('e', 7)
    expect([6, 7].map((n) => sequence.accept(frame(n)))).toEqual(['skip', 'skip'])
    expect(sequence.n).toBe(7)
  })

  test('asks for a snapshot after a hole', () => {
    const sequence = new Sequence()
    sequence.anchor('e', 7)
    expect(sequence.accept(frame(9))).toBe('resync')
    expect(sequence.n).toBe(7)
  })

  test('asks for a snapshot when the server began another epoch, even if the number fits', () => {
    const sequence = new Sequence()
    sequence.anchor('e', 7)
    expect(sequence.accept(frame(8, 'other'))).toBe('resync')
  })

  test('keeps frames that overtake the snapshot and hands on those that follow it', () => {
    const sequence = new Sequence()
    for (const n of [4, 5, 6]) expect(sequence.accept(frame(n))).toBe('skip')
    expect(numbers(sequence.anchor('e', 4))).toEqual([5, 6])
    expect(sequence.accept(frame(7))).toBe('apply')
  })

  test('refuses a snapshot that is older than the kept frames can continue, and keeps anew', () => {
    const sequence = new Sequence()
    sequence.accept(frame(9))
    expect(sequence.anchor('e', 4)).toBeNull()
    expect(sequence.epoch).toBeNull()
    expect(sequence.accept(frame(10))).toBe('skip')
    expect(numbers(sequence.anchor('e', 9))).toEqual([10])
  })

  test('refuses a snapshot of another epoch than the kept frames', () => {
    const sequence = new Sequence()
    sequence.accept(frame(5, 'new'))
    expect(sequence.anchor('old', 4)).toBeNull()
  })

  test(`keeps at most ${MAX_KEPT} frames: one more makes a hole, so the snapshot is fetched again`, () => {
    const [fits, over] = [new Sequence(), new Sequence()]
    for (let n = 1; n <= MAX_KEPT; n++) fits.accept(frame(n))
    for (let n = 1; n <= MAX_KEPT + 1; n++) over.accept(frame(n))
    expect(fits.anchor('e', 0)).toHaveLength(MAX_KEPT)
    expect(over.anchor('e', 0)).toBeNull()
  })
})

test('waits longer after each failure, up to 8 s, never less than half', () => {
  expect([0, 1, 2, 3, 4, 9].map((attempt) => backoff(attempt, 1))).toEqual([500, 1000, 2000, 4000, 8000, 8000])
  expect(backoff(0, 0)).toBe(250)
})
