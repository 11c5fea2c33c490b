/**
 * The map: two stacked canvases, no library, no tiles. Below: districts. Above: sensors, labels, the chosen sensor.
 * Health is told by shape as well as by colour. Nothing is drawn unless something changed.
 */
import type { Health } from '../lib/judge'
import type { Device } from '../lib/types'
import { type Box, type DistrictLabel, drawLabel, drawName, type Paint } from './labels'
import { type Bounds, boundsOf, Projection } from './project'
import { mark, SHAPES } from './shapes'

export interface Scene {
  labels: DistrictLabel[]
  devices: Device[]
  health: ReadonlyMap<string, Health>
  district: string | null
  chosen: string | null
}

export interface MapView {
  show(scene: Scene): void
  /** Show the chosen district, or everything. */
  home(): void
  zoom(factor: number): void
  pan(dx: number, dy: number): void
  /** Colours changed: read them from CSS again. */
  restyle(): void
  destroy(): void
}

export const COLOURS = ['map', 'map-district', 'map-line', 'map-text', 'map-muted', 'ok', 'warning', 'critical', 'offline', 'accent'] as const
export type Palette = Record<(typeof COLOURS)[number], string>

/** More healthy sensors than this in sight and they are left to the district's count. */
const MAX_CALM = 3000
const PICK_PIXELS = 14
const CLICK_PIXELS = 5
/** Pixels at the bottom that the legend covers. */
const LEGEND = 44
/** Zoom from which sensors are drawn in full size and district labels step back. */
const NEAR = 1.7

export function canvasMap(host: HTMLElement, pick: (device: string) => void): MapView {
  const canvases = [document.createElement('canvas'), document.createElement('canvas')] as const
  for (const canvas of canvases) {
    canvas.setAttribute('aria-hidden', 'true')
    host.append(canvas)
  }
  const [below, above] = canvases.map((c) => c.getContext('2d') as CanvasRenderingContext2D) as [
    CanvasRenderingContext2D,
    CanvasRenderingContext2D,
  ]
  const at = new Projection()
  let scene: Scene = { labels: [], devices: [], health: new Map(), district: null, chosen: null }
  let colour = palette(host)
  const family = getComputedStyle(host).fontFamily
  let width = 0
  let height = 0
  let hovered: Device | null = null
  let moved = false // the operator took the view: data must not move it back
  let frame = 0

  const draw = () => {
    if (!frame)
      frame = requestAnimationFrame(() => {
        frame = 0
        drawDistricts()
        drawSensors()
      })
  }

  const box = (district: string | null): Bounds | null => {
    const points: [number, number][] = []
    for (const { district: d } of scene.labels) if (!district || d.id === district) points.push(...d.outline)
    for (const d of scene.devices)
      if (d.lat !== null && d.lon !== null && (!district || d.district === district)) points.push([d.lon, d.lat])
    return boundsOf(points)
  }

  const home = () => {
    moved = false
    const whole = box(null)
    if (whole) at.fit(whole, width, height - LEGEND, 20, true)
    const part = scene.district ? box(scene.district) : null
    if (part) at.fit(part, width, height - LEGEND, 40, false)
    draw()
  }

  /** Move the view to the chosen sensor if it is outside. */
  const bringIntoSight = () => {
    const chosen = scene.devices.find((d) => d.id === scene.chosen)
    const xy = chosen && place(chosen)
    if (xy && (xy[0] < 20 || xy[1] < 20 || xy[0] > width - 20 || xy[1] > height - LEGEND)) pan(width / 2 - xy[0], height / 2 - xy[1])
  }

  function drawDistricts(): void {
    below.clearRect(0, 0, width, height)
    for (const { district, health } of scene.labels) {
      if (district.outline.length < 3) continue
      below.beginPath()
      district.outline.forEach(([lon, lat], i) => (i ? below.lineTo(at.x(lon), at.y(lat)) : below.moveTo(at.x(lon), at.y(lat))))
      below.closePath()
      const faded = scene.district !== null && scene.district !== district.id
      below.globalAlpha = faded ? 0.35 : 1
      below.fillStyle = colour['map-district']
      below.fill()
      const bad = health === 'critical' || health === 'warning'
      if (bad) {
        below.globalAlpha = faded ? 0.03 : 0.09
        below.fillStyle = colour[health]
        below.fill()
        below.globalAlpha = faded ? 0.35 : 1
      }
      below.lineJoin = 'round'
      below.lineWidth = scene.district === district.id ? 2 : 1
      below.strokeStyle = scene.district === district.id ? colour.accent : colour['map-line']
      below.stroke()
    }
    below.globalAlpha = 1
  }

  const place = (device: Device): [number, number] | null =>
    device.lat === null || device.lon === null ? null : [at.x(device.lon), at.y(device.lat)]

  function drawSensors(): void {
    above.clearRect(0, 0, width, height)
    const near = at.zoom >= NEAR
    const paint: Paint = { on: above, family, colour }
    const calm = scene.devices.length <= MAX_CALM || near
    for (const health of ['ok', 'offline', 'warning', 'critical'] as const) {
      if (health === 'ok' && !calm) continue
      const bad = health === 'warning' || health === 'critical'
      const radius = near ? (bad ? 8 : 5) : bad ? 7 : health === 'offline' ? 3.5 : 2.5
      for (const device of scene.devices) {
        if ((scene.health.get(device.id) ?? 'ok') !== health) continue
        const xy = place(device)
        if (!xy || xy[0] < -20 || xy[0] > width + 20 || xy[1] < -20 || xy[1] > height + 20) continue
        above.globalAlpha = scene.district && device.district !== scene.district ? 0.3 : 1
        mark(above, SHAPES[health], xy[0], xy[1], radius, colour[health], colour.map)
      }
    }
    if (!near) drawLabels(paint) // they keep clear of trouble where there is room
    above.globalAlpha = 1
    const chosen = scene.devices.find((d) => d.id === scene.chosen)
    if (chosen) drawChosen(chosen)
    const xy = hovered && place(hovered)
    if (hovered && xy) drawName(paint, hovered.name || hovered.id, xy, width)
  }

  function drawLabels(paint: Paint): void {
    const bad = (d: Device) => ['warning', 'critical'].includes(scene.health.get(d.id) ?? 'ok')
    const trouble = scene.devices.filter(bad).map(place).filter((xy) => xy !== null)
    const taken: Box[] = []
    for (const label of scene.labels.toSorted((a, b) => Number(b.trouble !== '') - Number(a.trouble !== ''))) {
      above.globalAlpha = scene.district && scene.district !== label.district.id ? 0.4 : 1
      const box = drawLabel(paint, label, at, trouble, taken)
      if (box) taken.push(box)
    }
    above.globalAlpha = 1
  }

  function drawChosen(device: Device): void {
    const xy = place(device)
    if (!xy) return
    above.beginPath()
    above.arc(xy[0], xy[1], 13, 0, 2 * Math.PI)
    above.lineWidth = 2.5
    above.strokeStyle = colour.accent
    above.stroke() // its name stands in the sensor panel
  }

  const resize = () => {
    const { clientWidth, clientHeight } = host
    if (!clientWidth || !clientHeight) return // hidden tab
    const first = width === 0
    const [dx, dy] = [(clientWidth - width) / 2, (clientHeight - height) / 2]
    width = clientWidth
    height = clientHeight
    for (const canvas of canvases) {
      canvas.width = Math.round(width * devicePixelRatio)
      canvas.height = Math.round(height * devicePixelRatio)
      canvas.getContext('2d')?.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0)
    }
    if (first || !moved) home()
    else at.pan(dx, dy)
    draw()
  }
  const observer = new ResizeObserver(resize)
  observer.observe(host)

  const hit = (x: number, y: number): Device | null => {
    let best: Device | null = null
    let distance = PICK_PIXELS ** 2
    for (const device of scene.devices) {
      const xy = place(device)
      if (!xy) continue
      const d = (xy[0] - x) ** 2 + (xy[1] - y) ** 2
      const bad = (scene.health.get(device.id) ?? 'ok') !== 'ok'
      if (d < distance || (bad && d === distance)) {
        distance = d
        best = device
      }
    }
    return best
  }

  const zoomAt = (factor: number, x: number, y: number) => {
    moved = true
    at.zoomAt(factor, x, y)
    draw()
  }
  const pan = (dx: number, dy: number) => {
    moved = true
    at.pan(dx, dy)
    draw()
  }

  const fingers = new Map<number, { x: number; y: number }>()
  let travelled = 0
  const listeners = new AbortController()
  const on = <K extends keyof HTMLElementEventMap>(kind: K, hear: (event: HTMLElementEventMap[K]) => void, passive = true) =>
    host.addEventListener(kind, hear, { signal: listeners.signal, passive })

  on(
    'wheel',
    (event) => {
      event.preventDefault()
      const { left, top } = host.getBoundingClientRect()
      zoomAt(Math.exp(-Math.max(-100, Math.min(100, event.deltaY)) / 400), event.clientX - left, event.clientY - top)
    },
    false,
  )
  on('pointerdown', (event) => {
    if (event.target instanceof Element && event.target.closest('button')) return
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY })
    if (fingers.size === 1) travelled = 0
    host.setPointerCapture(event.pointerId)
  })
  on('pointermove', (event) => {
    const { left, top } = host.getBoundingClientRect()
    const finger = fingers.get(event.pointerId)
    if (!finger) {
      const device = hit(event.clientX - left, event.clientY - top)
      if (device !== hovered) {
        hovered = device
        host.classList.toggle('over', device !== null)
        draw()
      }
      return
    }
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y]
    travelled += Math.abs(dx) + Math.abs(dy)
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1] ?? finger
      const before = Math.hypot(finger.x - other.x, finger.y - other.y)
      const after = Math.hypot(event.clientX - other.x, event.clientY - other.y)
      if (before > 0) zoomAt(after / before, (event.clientX + other.x) / 2 - left, (event.clientY + other.y) / 2 - top)
    } else if (travelled > CLICK_PIXELS) pan(dx, dy)
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY })
  })
  on('pointerup', (event) => {
    const known = fingers.delete(event.pointerId)
    if (!known || travelled > CLICK_PIXELS || fingers.size) return
    const { left, top } = host.getBoundingClientRect()
    const device = hit(event.clientX - left, event.clientY - top)
    if (device) pick(device.id)
  })
  on('pointercancel', (event) => fingers.delete(event.pointerId))
  on('pointerleave', () => {
    hovered = null
    draw()
  })

  resize()
  return {
    show(next) {
      const refit = !moved && (next.devices.length !== scene.devices.length || next.labels.length !== scene.labels.length)
      const other = next.district !== scene.district
      const turned = next.chosen !== scene.chosen
      scene = next
      if (other || refit) home()
      if (turned) bringIntoSight()
      draw()
    },
    home,
    zoom: (factor) => zoomAt(factor, width / 2, height / 2),
    pan,
    restyle() {
      colour = palette(host)
      draw()
    },
    destroy() {
      cancelAnimationFrame(frame)
      observer.disconnect()
      listeners.abort()
      for (const canvas of canvases) canvas.remove()
    },
  }
}

function palette(host: HTMLElement): Palette {
  return Object.fromEntries(COLOURS.map((name) => [name, cssColour(host, name)])) as Palette
}

/** The colour behind `--name`, resolved for the current theme: canvases know no `light-dark()`. */
export function cssColour(host: HTMLElement, name: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(--${name})`
  host.append(probe)
  const resolved = getComputedStyle(probe).color
  probe.remove()
  return resolved
}
