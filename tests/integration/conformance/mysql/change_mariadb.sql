UPDATE versioned SET note = 'later';
DO NEXTVAL(numbers);
