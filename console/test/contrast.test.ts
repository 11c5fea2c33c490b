import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

/** The colours of `app.css` by theme; those with an alpha are left out. */
const css = readFileSync(new URL('../src/app.css', import.meta.url), 'utf8')
const colours = new Map(
  [...css.matchAll(/--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map((m) => [m[1], { light: m[2], dark: m[3] }]),
)

/** WCAG 2.2, relative luminance and contrast ratio. */
function luminance(hex: string): number {
  const channel = (at: number) => {
    const c = Number.parseInt(hex.slice(at, at + 2), 16) / 255
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  }
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}
function contrast(a: string, b: string): number {
  const [high, low] = [luminance(a), luminance(b)].toSorted((x, y) => y - x) as [number, number]
  return (high + 0.05) / (low + 0.05)
}

test('the formula gives the known extremes', () => {
  expect(contrast('#000000', '#ffffff')).toBeCloseTo(21)
})

const TEXT = 4.5
const GRAPHIC = 3

describe.each(['light', 'dark'] as const)('on canvases in the %s theme', (theme) => {
  test.each<[string, string, number]>([
    ['map-text', 'map', TEXT],
    ['map-text', 'map-district', TEXT],
    ['map-muted', 'map-district', TEXT],
    ['warning', 'map-district', TEXT],
    ['critical', 'map-district', TEXT],
    ['warning', 'map', GRAPHIC],
    ['critical', 'map', GRAPHIC],
    ['ok', 'map', GRAPHIC],
    ['ok', 'map-district', GRAPHIC],
    ['offline', 'map', GRAPHIC],
    ['offline', 'map-district', GRAPHIC],
    ['accent', 'map', GRAPHIC],
    ['accent', 'map-district', GRAPHIC],
    ['chart-line', 'panel', GRAPHIC],
    ['chart-expected', 'panel', GRAPHIC],
    ['critical', 'panel', TEXT],
    ['muted', 'panel', TEXT],
    ['edge', 'panel', GRAPHIC],
    ...['panel', 'raised', 'warning-soft'].flatMap((back) =>
      ['critical', 'high', 'warning', 'low', 'chart-line', 'edge'].map((mark) => [mark, back, GRAPHIC] as [string, string, number]),
    ),
    ['muted', 'raised', TEXT],
  ])('%s stands out from %s', (front, back, least) => {
    const [a, b] = [colours.get(front)?.[theme], colours.get(back)?.[theme]]
    expect(a && b, `${front} and ${back} are in app.css`).toBeTruthy()
    expect(contrast(a as string, b as string)).toBeGreaterThanOrEqual(least)
  })
})
