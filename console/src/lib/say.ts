/** Sentences of the console in the chosen language: formatted values, ages and the reason of an alert. */
import { ApiError } from './api'
import { column, duration, number, signed, time, zone } from './format'
import { LOCALES, prefs, t, tCode } from './i18n/index.svelte'
import type { Facts } from './types'

export const sayNumber = (value: number | null | undefined): string => number(value ?? Number.NaN, LOCALES[prefs.lang])

/** Numbers that stand below each other: all with the decimals of the largest. */
export const sayColumn = (values: number[]): string[] => column(values, LOCALES[prefs.lang])

export const sayUnit = (unit: string): string => tCode('unit', unit, unit)

export const sayValue = (value: number | null | undefined, unit: string): string =>
  value === null || value === undefined || !Number.isFinite(value) ? '–' : `${sayNumber(value)}${unit ? `\u00a0${sayUnit(unit)}` : ''}`

/** In usual deviations, with its sign. */
export const sayDeviation = (z: number | null | undefined): string => signed(z ?? Number.NaN, LOCALES[prefs.lang])

export function sayDuration(seconds: number): string {
  const { unit, n } = duration(seconds)
  return t(`duration.${unit}`, { n })
}

/** A distance of readings, exact where that is short. */
export function sayInterval(seconds: number): string {
  const s = Math.round(seconds)
  if (s < 600 && s % 60) return t('duration.s', { n: s })
  return s < 36_000 && s % 3600 ? t('duration.min', { n: Math.round(s / 60) }) : sayDuration(s)
}

/** The clock and the zone that all times are in: 16:09 UTC+5. */
export const sayClock = (now: number): string => `${sayTime(now, now)} ${zone(new Date(now))}`

export const sayTime = (at: string | number, now: number): string => time(new Date(at), new Date(now), LOCALES[prefs.lang])

export const sayAge = (at: string | number, now: number): string => sayDuration((now - new Date(at).getTime()) / 1000)

export const sayMetric = (code: string): string => tCode('metric', code, code)

export const sayKind = (code: string): string => tCode('kind', code, code)

/** A value of `metric`; what is only on or off is told in words. */
export const sayReading = (metric: string, value: number, unit: string): string => tCode(metric, String(value), sayValue(value, unit))

/** A detector's score; far outside, its digits say nothing any more. */
export const saySeverity = (score: number): string => (score > 99 ? '> 99' : sayNumber(score))

/** Why a request failed: the server's own words, or that there was no answer. */
export const sayFailure = (error: unknown): string =>
  !(error instanceof ApiError) ? String(error) : error.status ? error.detail : t('app.unreachable')

/** Why the alert was raised; an unknown code falls back to the server's English sentence. */
export const sayReason = (facts: Facts): string =>
  tCode('reason', facts.code, facts.text, {
    limit: sayValue(facts.limit, facts.unit),
    duration: sayDuration(facts.duration_seconds),
  })
