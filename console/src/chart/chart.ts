/** The chart: uPlot with our colours, bands, envelope and alert marks. Knows pixels, decides nothing. */
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { Readings } from '../lib/types'
import { cssColour } from '../map/canvas'
import { mark } from '../map/shapes'
import { chartColumns } from './columns'

export interface ChartScene {
  readings: Readings | null
  /** Epoch milliseconds. */
  start: number
  end: number
  label: string
  /** Epoch milliseconds at which alerts opened. */
  marks: number[]
  locales: readonly string[]
}

const NAMES = ['chart-line', 'chart-band', 'chart-envelope', 'chart-expected', 'muted', 'line', 'critical', 'panel'] as const
type Palette = Record<(typeof NAMES)[number], string>

const MIN_HEIGHT = 140

export class Chart {
  readonly #host: HTMLElement
  readonly #observer: ResizeObserver
  #plot: uPlot | null = null
  #scene: ChartScene | null = null
  #look = ''

  constructor(host: HTMLElement) {
    this.#host = host
    this.#observer = new ResizeObserver(() => this.#resize())
    this.#observer.observe(host)
  }

  show(scene: ChartScene): void {
    this.#scene = scene
    const colours = Object.fromEntries(NAMES.map((name) => [name, cssColour(this.#host, name)])) as Palette
    const look = JSON.stringify([colours, scene.label, scene.locales])
    if (look !== this.#look || !this.#plot) {
      this.#plot?.destroy()
      this.#look = look
      this.#plot = this.#make(colours, scene)
    }
    const { t, bandHigh, bandLow, high, low, expected, value } = chartColumns(
      scene.readings ?? { columns: { t: [], value: [], low: [], high: [], n: [], quality: [] }, band: { t: [], expected: [], low: [], high: [] } },
      scene.start,
      scene.end,
    )
    this.#plot.setData([t, bandHigh, bandLow, high, low, expected, value] as uPlot.AlignedData)
  }

  destroy(): void {
    this.#observer.disconnect()
    this.#plot?.destroy()
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(200, this.#host.clientWidth), height: Math.max(MIN_HEIGHT, this.#host.clientHeight) }
  }

  #resize(): void {
    if (this.#host.clientWidth) this.#plot?.setSize(this.#size())
  }

  #make(colours: Palette, scene: ChartScene): uPlot {
    const font = `12px ${getComputedStyle(this.#host).fontFamily}`
    const clock = new Intl.DateTimeFormat([...scene.locales], { hour: '2-digit', minute: '2-digit', hour12: false })
    const day = new Intl.DateTimeFormat([...scene.locales], { day: '2-digit', month: '2-digit' })
    const numbers = new Intl.NumberFormat([...scene.locales], { maximumSignificantDigits: 4 })
    const axis = { stroke: colours.muted, font, grid: { stroke: colours.line, width: 1 }, ticks: { show: false } }
    const hidden = { points: { show: false }, stroke: 'transparent', width: 0 }
    return new uPlot(
      {
        ...this.#size(),
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        padding: [10, 20, 0, 0],
        scales: { x: { time: true, range: () => [(this.#scene?.start ?? 0) / 1000, (this.#scene?.end ?? 1) / 1000] } },
        axes: [
          {
            ...axis,
            space: 70,
            size: 28,
            values: (_, splits) => {
              const days = splits.length > 1 && (splits[1] as number) - (splits[0] as number) >= 86_400
              return splits.map((at) => {
                const date = new Date(at * 1000)
                return days || (date.getHours() === 0 && date.getMinutes() === 0) ? day.format(date) : clock.format(date)
              })
            },
          },
          { ...axis, size: 52, space: 34, values: (_, splits) => splits.map((v) => numbers.format(v)) },
        ],
        series: [
          {},
          hidden,
          hidden,
          hidden,
          hidden,
          { points: { show: false }, stroke: colours['chart-expected'], width: 1, dash: [4, 4] },
          { points: { show: false }, stroke: colours['chart-line'], width: 1.75, label: scene.label },
        ],
        bands: [
          { series: [1, 2], fill: colours['chart-band'] },
          { series: [3, 4], fill: colours['chart-envelope'] },
        ],
        hooks: { draw: [(plot) => this.#drawMarks(plot, colours)] },
      },
      [[], [], [], [], [], [], []],
      this.#host,
    )
  }

  #drawMarks(plot: uPlot, colours: Palette): void {
    const { ctx, bbox } = plot
    const scale = devicePixelRatio
    for (const at of this.#scene?.marks ?? []) {
      const x = plot.valToPos(at / 1000, 'x', true)
      if (x < bbox.left || x > bbox.left + bbox.width) continue
      ctx.save()
      ctx.strokeStyle = colours.critical
      ctx.lineWidth = scale
      ctx.setLineDash([2 * scale, 3 * scale])
      ctx.beginPath()
      ctx.moveTo(x, bbox.top)
      ctx.lineTo(x, bbox.top + bbox.height)
      ctx.stroke()
      ctx.setLineDash([])
      mark(ctx, 'diamond', x, bbox.top + 5 * scale, 5 * scale, colours.critical, colours.panel)
      ctx.restore()
    }
  }
}
