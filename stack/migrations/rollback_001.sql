DROP TABLE submissions;
DROP TABLE forms;
DROP TABLE suppliers;
DROP TABLE health_check;
