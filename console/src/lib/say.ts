/** Sentences of the console in the chosen language: formatted values, ages and the reason of an alert. */
import { duration, number, signed, time } from './format'
import { LOCALES, prefs, t, tCode } from './i18n/index.svelte'
import type { Facts } from './types'

export const sayNumber = (value: number | null | undefined): string => number(value ?? Number.NaN, LOCALES[prefs.lang])

export const sayValue = (value: number | null | undefined, unit: string): string =>
  value === null || value === undefined || !Number.isFinite(value) ? '–' : `${sayNumber(value)}${unit ? `\u00a0${unit}` : ''}`

/** A count of things: whole, with its thousands apart. */
export const sayCount = (n: number): string => sayNumber(Math.round(n))

/** In usual deviations, with its sign. */
export const sayDeviation = (z: number | null | undefined): string => signed(z ?? Number.NaN, LOCALES[prefs.lang])

export function sayDuration(seconds: number): string {
  const { unit, n } = duration(seconds)
  return t(`duration.${unit}`, { n })
}

export const sayTime = (at: string | number, now: number): string => time(new Date(at), new Date(now), LOCALES[prefs.lang])

export const sayAge = (at: string | number, now: number): string => sayDuration((now - new Date(at).getTime()) / 1000)

export const sayMetric = (code: string): string => tCode('metric', code, code)

export const sayKind = (code: string): string => tCode('kind', code, code)

/** A detector's score; far outside, its digits say nothing any more. */
export const saySeverity = (score: number): string => (score > 99 ? '> 99' : sayNumber(score))

/** Why the alert was raised; an unknown code falls back to the server's English sentence. */
export const sayReason = (facts: Facts): string =>
  tCode('reason', facts.code, facts.text, {
    limit: sayValue(facts.limit, facts.unit),
    duration: sayDuration(facts.duration_seconds),
  })
