/** Of this operator; written on every pod that it injects. A test holds it equal to package.json. */
export const OPERATOR_VERSION = '0.1.0';
