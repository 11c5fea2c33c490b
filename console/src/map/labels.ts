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
/** Words longer than this many pixels and wider than their district are cut. */
const WIDEST = 130
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

/** `words`, cut to at most `room` pixels. */
function cut(paint: Paint, words: string, font: string, room: number): string {
  if (measure(paint, words, font) <= room) return words
  let n = words.length
  while (n > 1 && measure(paint, `${words.slice(0, n)}…`, font) > room) n--
  return `${words.slice(0, n).trimEnd()}…`
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

/** A label's place: its middle and its size, in pixels. */
export interface Box {
  x: number
  y: number
  wide: number
  tall: number
}

/** Sensors in trouble need this much room around their middle. */
const MARK = 10

/**
 * Where around `box.y` a label covers no point of `trouble` and none of the labels `taken`, at most `room` (or 40)
 * pixels away. Rather a sensor than another label is covered; `box.y` if nothing helps.
 */
export function freePlace(box: Box, room: number, trouble: readonly Point[], taken: readonly Box[]): number {
  const { x, y, wide, tall } = box
  const meetsLabel = (at: number) =>
    taken.some((other) => Math.abs(other.x - x) < (wide + other.wide) / 2 && Math.abs(other.y - at) < (tall + other.tall) / 2)
  const meetsSensor = (at: number) =>
    trouble.some(([px, py]) => Math.abs(px - x) < wide / 2 + MARK && Math.abs(py - at) < tall / 2 + MARK)
  let second: number | null = null
  for (let away = 0; away <= Math.max(40, room); away += 6)
    for (const at of [y - away, y + away]) {
      if (meetsLabel(at)) continue
      if (!meetsSensor(at)) return at
      second ??= at
    }
  return second ?? y
}

/**
 * Write a district's name, and its alerts or else its sensors, about its middle; the caller has set how much it fades.
 * Return the place that it took.
 */
export function drawLabel(
  paint: Paint,
  label: DistrictLabel,
  at: Projection,
  avoid: readonly Point[],
  taken: readonly Box[],
): Box | null {
  const { on, colour } = paint
  const { district, detail, health, trouble } = label
  const ring = district.outline.length ? boundsOf(district.outline) : null
  if (!ring) return null
  const x = at.x((ring.west + ring.east) / 2)
  const y = at.y((ring.south + ring.north) / 2)
  const tight = at.x(ring.east) - at.x(ring.west) < TIGHT
  const bold = tight ? LOUD : BOLD
  const name = cut(paint, label.name, bold, Math.max(WIDEST, at.x(ring.east) - at.x(ring.west)))
  const below = trouble || (tight ? '' : detail)
  const wide = Math.max(measure(paint, name, bold), below ? measure(paint, below, trouble ? LOUD : SMALL) + (trouble ? 17 : 0) : 0) + 12
  const tall = below ? 42 : 24
  const room = (at.y(ring.south) - at.y(ring.north)) / 2 - tall / 2
  const box = { x, y: freePlace({ x, y, wide, tall }, room, avoid, taken), wide, tall }
  const top = box.y - tall / 2
  plate(paint, x - wide / 2, top, wide, tall, colour['map-district'])
  on.textAlign = 'center'
  text(paint, name, x, top + 17, bold, colour['map-text'])
  if (trouble) {
    const half = text(paint, trouble, x + 8.5, top + 35, LOUD, colour[health]) / 2
    mark(on, SHAPES[health], x - half - 2.5, top + 31, 5.5, colour[health], colour['map-district'])
  } else if (below) text(paint, below, x, top + 34, SMALL, colour['map-muted'])
  return box
}

/** Write a sensor's name beside it, on the side that has room on a map of `width` pixels. */
export function drawName(paint: Paint, words: string, [x, y]: Point, width: number): void {
  const shown = cut(paint, words, LOUD, width / 2)
  const wide = measure(paint, shown, LOUD) + 12
  const left = x + 16 + wide > width ? x - 16 - wide : x + 16
  plate(paint, left, y - 11, wide, 22, paint.colour.map)
  paint.on.textAlign = 'left'
  text(paint, shown, left + 6, y + 4, LOUD, paint.colour['map-text'])
}
