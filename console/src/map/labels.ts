/** Words on the map: names of districts, kept clear of sensors in trouble, and the name of the sensor pointed at. */
import type { Health } from '../lib/judge'
import type { District } from '../lib/types'
import type { Palette } from './canvas'
import { boundsOf, type Projection } from './project'
import { mark, SHAPES } from './shapes'

export interface DistrictLabel {
  district: District
  name: string
  detail: string
  health: Health
  trouble: string
}

export interface Paint {
  on: CanvasRenderingContext2D
  family: string
  colour: Palette
}

type Point = readonly [number, number]

/** A district narrower than this many pixels gets a short label. */
const TIGHT = 110
const BOLD = '600 14px'
const SMALL = '12px'
const LOUD = '600 12px'

function text({ on, family }: Paint, words: string, x: number, y: number, font: string, fill: string): number {
  on.font = `${font} ${family}`
  on.fillStyle = fill
  on.fillText(words, x, y)
  return on.measureText(words).width
}

function measure({ on, family }: Paint, words: string, font: string): number {
  on.font = `${font} ${family}`
  return on.measureText(words).width
}

/** A soft plate that keeps text readable over sensors. */
function plate({ on }: Paint, x: number, y: number, w: number, h: number, fill: string): void {
  const before = on.globalAlpha
  on.globalAlpha = before * 0.86
  on.beginPath()
  on.roundRect(x, y, w, h, 7)
  on.fillStyle = fill
  on.fill()
  on.globalAlpha = before
}

/** Where around `y` a label covers none of `trouble`, at most `room` (or 40) pixels away; `y` if nowhere. */
export function freeOfTrouble(trouble: readonly Point[], x: number, y: number, wide: number, tall: number, room: number): number {
  for (let away = 0; away <= Math.max(40, room); away += 12)
    for (const middle of [y - away, y + away])
      if (!trouble.some((xy) => Math.abs(xy[0] - x) < wide / 2 + 10 && Math.abs(xy[1] - middle) < tall / 2 + 10)) return middle
  return y
}

/** Write a district's name, its sensors and its alerts into its middle; the caller has set how much it fades. */
export function drawLabel(paint: Paint, label: DistrictLabel, at: Projection, avoid: readonly Point[]): void {
  const { on, colour } = paint
  const { district, name, detail, health, trouble } = label
  const ring = district.outline.length ? boundsOf(district.outline) : null
  if (!ring) return
  const x = at.x((ring.west + ring.east) / 2)
  const y = at.y((ring.south + ring.north) / 2)
  const tight = at.x(ring.east) - at.x(ring.west) < TIGHT
  const bold = tight ? LOUD : BOLD
  const lines = [measure(paint, name, bold), tight ? 0 : measure(paint, detail, SMALL), trouble ? measure(paint, trouble, LOUD) + 17 : 0]
  const wide = Math.max(...lines) + 12
  const tall = 24 + (tight ? 0 : 17) + (trouble ? 18 : 0)
  const middle = freeOfTrouble(avoid, x, y, wide, tall, (at.y(ring.south) - at.y(ring.north)) / 2 - tall / 2)
  const top = middle - tall / 2
  plate(paint, x - wide / 2, top, wide, tall, colour['map-district'])
  on.textAlign = 'center'
  text(paint, name, x, top + 17, bold, colour['map-text'])
  if (!tight) text(paint, detail, x, top + 34, SMALL, colour['map-muted'])
  if (!trouble) return
  const line = top + (tight ? 35 : 52)
  const half = text(paint, trouble, x + 8.5, line, LOUD, colour[health]) / 2
  mark(on, SHAPES[health], x - half - 2.5, line - 4, 5.5, colour[health], colour['map-district'])
}

/** Write a sensor's name beside it, on the side that has room on a map of `width` pixels. */
export function drawName(paint: Paint, words: string, [x, y]: Point, width: number): void {
  const wide = measure(paint, words, LOUD) + 12
  const left = x + 16 + wide > width ? x - 16 - wide : x + 16
  plate(paint, left, y - 11, wide, 22, paint.colour.map)
  paint.on.textAlign = 'left'
  text(paint, words, left + 6, y + 4, LOUD, paint.colour['map-text'])
}
