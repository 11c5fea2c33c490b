import { describe, expect, test } from 'vitest'
import { freePlace } from '../src/map/labels'

const box = { x: 100, y: 100, wide: 80, tall: 40 }
const other = (x: number, y: number) => ({ x, y, wide: 80, tall: 40 })

describe('the place of a label', () => {
  test.each([
    ['stays where nothing is in the way', [], [], 100],
    ['goes up from a sensor in trouble below its middle', [[100, 105]], [], 70],
    ['goes down from a label above', [], [other(100, 90)], 130],
    ['passes between a sensor above and a label below', [[100, 72]], [other(100, 150)], 106],
    ['stays beside a label that leaves room', [], [other(185, 100)], 100],
    ['rather covers a sensor than a label', [[100, 60], [100, 100], [100, 140]], [other(100, 80)], 124],
    ['stays when nothing helps', [], [other(100, 60), other(100, 100), other(100, 140)], 100],
  ] as const)('%s', (_, trouble, taken, place) => {
    expect(freePlace(box, 0, trouble, taken)).toBe(place)
  })
})
