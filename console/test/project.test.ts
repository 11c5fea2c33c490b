import { expect, test } from 'vitest'
import { boundsOf, Projection } from '../src/map/project'

const box = { west: 58.3, east: 58.5, south: 37.9, north: 38 }

test('a fitted box lies in the middle, inside its margin', () => {
  const at = new Projection()
  at.fit(box, 800, 600, 20, true)
  expect((at.x(box.west) + at.x(box.east)) / 2).toBeCloseTo(400)
  expect((at.y(box.south) + at.y(box.north)) / 2).toBeCloseTo(300)
  expect(at.x(box.west)).toBeGreaterThanOrEqual(20 - 1e-6)
  expect(at.y(box.north)).toBeGreaterThanOrEqual(20 - 1e-6)
})

test('zooming keeps the place under the pointer, and stops at its ends', () => {
  const at = new Projection()
  at.fit(box, 800, 600, 20, true)
  const lon = 58.36
  const x = at.x(lon)
  at.zoomAt(2, x, 100)
  expect(at.x(lon)).toBeCloseTo(x)
  expect(at.zoom).toBeCloseTo(2)
  at.zoomAt(1e9, x, 100)
  expect(at.zoom).toBeCloseTo(40)
  at.zoomAt(1e-9, x, 100)
  expect(at.zoom).toBeCloseTo(0.6)
})

test('a single point is shown with some country around it', () => {
  const at = new Projection()
  at.fit({ west: 58, east: 58, south: 38, north: 38 }, 400, 400, 20, true)
  expect(at.x(58)).toBeCloseTo(200)
  expect(Math.abs(at.x(58.001) - at.x(58))).toBeLessThan(200)
})

test('no points have no bounds', () => {
  expect(boundsOf([])).toBeNull()
})
