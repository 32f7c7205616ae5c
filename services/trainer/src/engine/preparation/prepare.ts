import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import type { PersonalDataType } from '@landfall/masking/mask.ts';
import { readExamples, sameAs } from '../data/check.ts';
import { type Example, exampleOf, keyOf, lineOf } from '../data/example.ts';
import { openRows } from '../data/files.ts';
import { ImageFolder } from '../data/image-folder.ts';
import { IssueReport } from '../data/issues.ts';
import { classOf, SeenImages } from '../data/pair.ts';
import { HeldOutQuestions } from './held-out.ts';
import { NearDuplicates, sketchOf } from './near-duplicates.ts';
import { lengthFences, unusual } from './outliers.ts';
import { RowStore } from './row-store.ts';
import { shinglesOf } from './shingles.ts';
import { Splitter } from './split.ts';
import { Figures, type Statistics } from './statistics.ts';
import { type PreparationTask, TRAINING_FILE, VALIDATION_FILE } from './task.ts';
import { askedOf, contextOf, maskText, reportChanges, tidy } from './tidy.ts';

/** What came of the rows; they themselves stand in TRAINING_FILE and VALIDATION_FILE. */
export interface Prepared {
  rowsIn: number;
  trainingRows: number;
  validationRows: number;
  before: Statistics;
  after: Statistics;
  /** Personal data by type, in the rows that are kept. */
  masked: Map<PersonalDataType, number>;
}

/** Rows that have come through the first pass, by their number in the store. */
interface Sifted {
  rowsIn: number;
  /** Row numbers in the data set. */
  rows: number[];
  masked: Map<number, PersonalDataType[]>;
  before: Figures;
  kept: Figures;
}

const SCRATCH_FILE = 'kept.tmp';

/**
 * Takes a data set through checks, cleaning, masking, de-duplication, leakage and length checks and the split. What is
 * changed or left out is reported by row. Rows stream through; of each about a kilobyte is held, however long it is.
 */
export async function prepareFolder(task: PreparationTask, report: IssueReport): Promise<Prepared> {
  using store = new RowStore(path.join(task.output, SCRATCH_FILE));
  const images = new ImageFolder(task.folder);
  const read = (index: number) =>
    exampleOf(sifted.rows[index]!, store.read(index), (name) => images.image(name));
  const sifted = await sift(task, report, store, images);
  const left = withoutOutliers(task, sifted, report);

  const { validationShare, seed, nearDuplicateThreshold } = task.options;
  const after = new Figures();
  const splitter = new Splitter(seed, nearDuplicateThreshold, (index) => askedOf(read(index)));
  const classes = sifted.kept.classes();
  const masked = new Map<PersonalDataType, number>();
  for (const index of left) {
    const example = read(index);
    after.add(example, classOf(example));
    for (const type of sifted.masked.get(index) ?? []) masked.set(type, (masked.get(type) ?? 0) + 1);
    if (validationShare > 0) splitter.add(index, askedOf(example), classes ? classOf(example) : '');
  }
  const validation = splitter.validation(validationShare);
  await writeLines(path.join(task.output, TRAINING_FILE), store, left, (index) => !validation.has(index));
  await writeLines(path.join(task.output, VALIDATION_FILE), store, left, (index) => validation.has(index));
  return {
    rowsIn: sifted.rowsIn,
    trainingRows: left.length - validation.size,
    validationRows: validation.size,
    before: sifted.before.statistics(),
    after: after.statistics(),
    masked,
  };
}

/** The first pass: every row is read, cleaned, and compared with those before it; the store gets what is kept. */
async function sift(
  { folder, heldOut, options }: PreparationTask,
  report: IssueReport,
  store: RowStore,
  images: ImageFolder,
): Promise<Sifted> {
  const leaks = await readHeldOut(heldOut, options.nearDuplicateThreshold);
  const sifted: Sifted = {
    rowsIn: 0,
    rows: [],
    masked: new Map(),
    before: new Figures(),
    kept: new Figures(),
  };
  const firsts = new Map<string, number>();
  const shown = new SeenImages();
  // Question and answer apart: one question with two answers is a contradiction, not a repeat.
  const partsOf = (example: Example) => [shinglesOf(contextOf(example)), shinglesOf(example.answer)];
  const near = new NearDuplicates(options.nearDuplicateThreshold, (index) =>
    partsOf(exampleOf(sifted.rows[index]!, store.read(index), (name) => images.image(name))),
  );
  for await (const raw of readExamples(await openRows(folder), report, { images })) {
    sifted.rowsIn++;
    if (!raw) continue;
    // Labels are shown, and one could be a person's.
    const named = classOf(raw);
    sifted.before.add(raw, options.keepPersonalData ? named : maskText(named).text);
    const tidied = tidy(raw, options.keepPersonalData, report);
    if (!tidied) continue;
    const { example } = tidied;
    const { row } = example;
    const key = keyOf(example);
    const first = firsts.get(key);
    if (first !== undefined) {
      report.add(row, 'duplicate', sameAs(example, first));
      continue;
    }
    firsts.set(key, row);
    const leak = leaks.find(askedOf(example));
    if (leak !== undefined) {
      report.add(row, 'leakage', leak);
      continue;
    }
    const sketch = options.keepNearDuplicates ? undefined : sketchOf(partsOf(example));
    const like = sketch && near.find(sketch);
    if (like !== undefined) {
      report.add(row, 'near_duplicate', `nearly the same as row ${sifted.rows[like]}`);
      continue;
    }
    if (!shown.keep(example, report)) continue;
    const index = store.add(lineOf(example));
    sifted.rows.push(row);
    sifted.kept.add(example, classOf(example));
    if (sketch) near.add(index, sketch);
    if (tidied.masked.length > 0) sifted.masked.set(index, tidied.masked);
    reportChanges(tidied, report);
  }
  return sifted;
}

async function readHeldOut(
  heldOut: PreparationTask['heldOut'],
  threshold: number,
): Promise<HeldOutQuestions> {
  const questions = new HeldOutQuestions(threshold);
  for (const { ref, folder } of heldOut) {
    // What is wrong with its rows is not this preparation's affair.
    const images = new ImageFolder(folder);
    for await (const example of readExamples(await openRows(folder), new IssueReport(0), { images })) {
      const tidied = example && tidy(example, true, new IssueReport(0));
      if (tidied) questions.add(askedOf(tidied.example), ref);
    }
  }
  return questions;
}

/** Numbers of the rows with usual lengths. A label is as long as it is: answers that are classes are not looked at. */
function withoutOutliers({ options }: PreparationTask, sifted: Sifted, report: IssueReport): number[] {
  const { questionLengths, answerLengths } = sifted.kept;
  const all = sifted.rows.map((_, index) => index);
  if (options.keepLengthOutliers) return all;
  const questions = lengthFences(questionLengths);
  const answers = sifted.kept.classes() ? undefined : lengthFences(answerLengths);
  return all.filter((index) => {
    const why =
      unusual('question', questionLengths[index]!, questions) ??
      unusual('answer', answerLengths[index]!, answers);
    if (why !== undefined) report.add(sifted.rows[index]!, 'length_outlier', why);
    return why === undefined;
  });
}

async function writeLines(
  file: string,
  store: RowStore,
  indices: readonly number[],
  wanted: (index: number) => boolean,
): Promise<void> {
  const stream = createWriteStream(file);
  const done = finished(stream);
  // A failure is met below; without this it would be nobody's until then.
  done.catch(() => {});
  for (const index of indices) {
    if (stream.errored) break;
    if (wanted(index) && !stream.write(store.read(index))) await Promise.race([once(stream, 'drain'), done]);
  }
  stream.end();
  await done;
}
