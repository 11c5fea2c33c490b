/** Degrees to pixels: an equirectangular view that keeps shapes right at the city's latitude. */

export interface Bounds {
  west: number
  south: number
  east: number
  north: number
}

/** The smallest box around `points` ([longitude, latitude]), null for none. */
export function boundsOf(points: Iterable<readonly [number, number]>): Bounds | null {
  let box: Bounds | null = null
  for (const [lon, lat] of points) {
    if (!box) box = { west: lon, east: lon, south: lat, north: lat }
    box.west = Math.min(box.west, lon)
    box.east = Math.max(box.east, lon)
    box.south = Math.min(box.south, lat)
    box.north = Math.max(box.north, lat)
  }
  return box
}

/** Degrees that a city of one point spreads over, so that its sensor is not a world of its own. */
const MIN_SPAN = 0.004
const MAX_ZOOM = 40
const MIN_ZOOM = 0.6

export class Projection {
  #cos = 1
  /** Pixels per degree of latitude, and where (0°, 0°) is in pixels. */
  #k = 1
  #x = 0
  #y = 0
  #home = 1

  x(lon: number): number {
    return lon * this.#cos * this.#k + this.#x
  }

  y(lat: number): number {
    return this.#y - lat * this.#k
  }

  /** 1 = everything fits. */
  get zoom(): number {
    return this.#k / this.#home
  }

  /** Show `box` in the middle of `width` × `height` pixels, `margin` pixels free around it; `home` makes it zoom 1. */
  fit(box: Bounds, width: number, height: number, margin: number, home: boolean): void {
    this.#cos = Math.cos((((box.south + box.north) / 2) * Math.PI) / 180)
    const lonSpan = Math.max(MIN_SPAN, box.east - box.west) * this.#cos
    const latSpan = Math.max(MIN_SPAN, box.north - box.south)
    this.#k = Math.min(Math.max(40, width - 2 * margin) / lonSpan, Math.max(40, height - 2 * margin) / latSpan)
    if (home) this.#home = this.#k
    this.#x = width / 2 - ((box.west + box.east) / 2) * this.#cos * this.#k
    this.#y = height / 2 + ((box.south + box.north) / 2) * this.#k
  }

  pan(dx: number, dy: number): void {
    this.#x += dx
    this.#y += dy
  }

  /** Zoom by `factor` so that the pixel (`cx`, `cy`) stays where it is. */
  zoomAt(factor: number, cx: number, cy: number): void {
    const wanted = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, this.zoom * factor))
    const f = wanted / this.zoom
    this.#x = cx + (this.#x - cx) * f
    this.#y = cy + (this.#y - cy) * f
    this.#k *= f
  }
}
