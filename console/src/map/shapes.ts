/** Marks that tell health by shape: circle, hollow circle, triangle, diamond. */
import type { Health } from '../lib/judge'

export type Shape = 'circle' | 'ring' | 'triangle' | 'diamond'

export const SHAPES: Record<Health, Shape> = { ok: 'circle', offline: 'ring', warning: 'triangle', critical: 'diamond' }

/** The same marks as SVG paths in a 16 × 16 box. */
export const PATHS: Record<Shape, string> = {
  circle: 'M8 3.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z',
  ring: 'M8 3.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z',
  triangle: 'M8 1.8L15 14.2H1z',
  diamond: 'M8 .8L15.2 8L8 15.2L.8 8z',
}

/** Draw one mark around (`x`, `y`); `edge` separates overlapping marks. */
export function mark(
  context: CanvasRenderingContext2D,
  shape: Shape,
  x: number,
  y: number,
  radius: number,
  colour: string,
  edge: string,
): void {
  context.beginPath()
  switch (shape) {
    case 'triangle':
      context.moveTo(x, y - radius)
      context.lineTo(x + radius, y + radius * 0.8)
      context.lineTo(x - radius, y + radius * 0.8)
      context.closePath()
      break
    case 'diamond':
      context.moveTo(x, y - radius * 1.15)
      context.lineTo(x + radius * 1.15, y)
      context.lineTo(x, y + radius * 1.15)
      context.lineTo(x - radius * 1.15, y)
      context.closePath()
      break
    case 'circle':
    case 'ring':
      context.arc(x, y, radius, 0, 2 * Math.PI)
  }
  if (shape === 'ring') {
    context.lineWidth = 1.5
    context.strokeStyle = colour
    context.fillStyle = edge
    context.fill()
    context.stroke()
    return
  }
  context.fillStyle = colour
  if (shape !== 'circle') {
    context.lineWidth = 2
    context.strokeStyle = edge
    context.stroke()
  }
  context.fill()
}
