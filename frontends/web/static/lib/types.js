// Shapes of what the server says, for the checker alone: fields mean what those of docs/wire.md mean.

/**
 * @typedef {{index: number, digest: string, size: number, width: number, height: number, media_type: string}} Picture
 * @typedef {{text: string, score: number, role?: string, note?: string}} JobText
 * @typedef {{job?: string, index?: number, digest?: string}} Source
 * @typedef {{
 *   job: string, account: string, state: string, asked_lane: string, lane: string, note: string, reason: string,
 *   failure: string, private: boolean, prompt: string, negative_prompt: string, width: number, height: number,
 *   steps: number, seed: number | string, images: number, guidance_scale: number, solver: string,
 *   styles: Record<string, number>, terms: Record<string, number>, step: number, made_ms: number, started_ms: number,
 *   ended_ms: number, charged_ms: number, pictures: Picture[], last_event: number, kind: string, sources: Source[],
 *   notes: string[], knobs: Record<string, number>, starts: string[], texts: JobText[]
 * }} JobInfo
 * @typedef {{
 *   name: string, flags: string[], kind: string, help: string, allowed: string, default: string, remedy: string,
 *   low: number | null, high: number | null, choices: string[], values: Record<string, unknown>, many: boolean,
 *   conflicts: string[], job_kinds: string[], families: string[], lanes: string[], missing: string, of_job: boolean
 * }} ParameterInfo
 * @typedef {{
 *   prompt: string, parameters: Record<string, any>, sources: Record<string, string>, lane: string, cost_ms: number,
 *   list_ms: number
 * }} PlannedJob
 * @typedef {{jobs: PlannedJob[], total_cost_ms: number, queue_position: number}} Planned
 * @typedef {{
 *   account: string, role: string, server: string, model: string, features: string[], csrf: string, keyless: boolean,
 *   news: string
 * }} Session
 * @typedef {{
 *   kind?: string, prompt?: string, parameters?: Record<string, any>, sources?: Source[]
 * }} Wanted
 */

export {};
